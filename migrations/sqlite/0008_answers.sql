-- What answers a repeated send is the entry itself, for as long as it stands. A row in `sent` is needed only for an entry that went
-- before its sender had acknowledged it, or that the sender's membership of before has left.

-- How often a device had sent that is not in a conversation any more: should it come back, it goes on counting.
CREATE TABLE former_member (
    conversation INTEGER NOT NULL,
    device       INTEGER NOT NULL,
    sent         INTEGER NOT NULL,
    PRIMARY KEY (conversation, device)
) STRICT, WITHOUT ROWID;
CREATE INDEX former_member_device ON former_member (device);
INSERT INTO former_member (conversation, device, sent)
    SELECT s.conversation, s.device, max(s.number) FROM sent s
    WHERE NOT EXISTS (SELECT 1 FROM member m WHERE m.conversation = s.conversation AND m.device = s.device)
    GROUP BY s.conversation, s.device;
DELETE FROM sent WHERE EXISTS (
    SELECT 1 FROM member m WHERE m.conversation = sent.conversation AND m.device = sent.device AND sent.seq > m.start
    AND (sent.seq <= m.cursor OR EXISTS (SELECT 1 FROM entry e WHERE e.place = (sent.conversation << 32 | sent.seq))));
