//! Every column of the server's tables, on both databases, and what it means. It is the one source of the page in
//! SECURITY.md and of what `disclose` prints.
//!
//! Invariant: the list is whole (a test compares it with both schemas, another one with SECURITY.md). It must not know values.

use std::fmt;

/// How a column is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// As it is.
    Clear,
    /// Public by its nature: keys, signed lists.
    Public,
    /// Encrypted under the data key, which the server has and a copy of the database has not.
    Sealed,
    /// One way: a guess can be tried, nothing can be read.
    Hashed,
    /// Encrypted by clients; nobody but them can open it.
    Encrypted,
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Clear => "clear",
            Self::Public => "public",
            Self::Sealed => "sealed",
            Self::Hashed => "hashed",
            Self::Encrypted => "encrypted",
        })
    }
}

/// A column: `table.column` in each database that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// In the embedded database.
    pub sqlite: Option<(&'static str, &'static str)>,
    /// In MySQL and MariaDB.
    pub mysql: Option<(&'static str, &'static str)>,
    /// How it is kept.
    pub protection: Protection,
    /// What it is, without a full stop.
    pub meaning: &'static str,
}

impl Column {
    /// The column of this name on either database.
    pub fn find(table: &str, column: &str) -> Option<&'static Self> {
        let named = |one: &Option<(&str, &str)>| *one == Some((table, column));
        COLUMNS.iter().find(|one| named(&one.sqlite) || named(&one.mysql))
    }
}

const fn column(
    sqlite: Option<(&'static str, &'static str)>,
    mysql: Option<(&'static str, &'static str)>,
    protection: Protection,
    meaning: &'static str,
) -> Column {
    Column { sqlite, mysql, protection, meaning }
}

/// In both databases, under one name.
const fn both(table: &'static str, name: &'static str, protection: Protection, meaning: &'static str) -> Column {
    column(Some((table, name)), Some((table, name)), protection, meaning)
}

/// In both databases, under different names.
const fn twin(
    sqlite: (&'static str, &'static str),
    mysql: (&'static str, &'static str),
    protection: Protection,
    meaning: &'static str,
) -> Column {
    column(Some(sqlite), Some(mysql), protection, meaning)
}

/// In the embedded database alone.
const fn sqlite(table: &'static str, name: &'static str, protection: Protection, meaning: &'static str) -> Column {
    column(Some((table, name)), None, protection, meaning)
}

/// In MySQL alone.
const fn mysql(table: &'static str, name: &'static str, protection: Protection, meaning: &'static str) -> Column {
    column(None, Some((table, name)), protection, meaning)
}

use Protection::{Clear, Encrypted, Hashed, Public, Sealed};

/// All of them.
pub const COLUMNS: &[Column] = &[
    twin(("server", "id"), ("server_state", "id"), Clear, "always 1"),
    twin(
        ("server", "incarnation"),
        ("server_state", "incarnation"),
        Clear,
        "random: which life of the database this is",
    ),
    twin(("server", "alive_day"), ("server_state", "alive_day"), Clear, "the last day on which the server ran"),
    twin(
        ("server", "silence_day"),
        ("server_state", "silence_day"),
        Clear,
        "the day from which the silence of devices counts",
    ),
    mysql("schema_version", "version", Clear, "a migration that was run"),
    mysql("schema_version", "name", Clear, "its name"),
    mysql("schema_version", "applied_ms", Clear, "when"),
    both("account", "id", Clear, "its row"),
    both("account", "username", Clear, "its name"),
    both("account", "full_name", Sealed, "the full name that was given at sign-up"),
    both("account", "email_lookup", Hashed, "the e-mail address, by HMAC-SHA-256 under the data key"),
    twin(("account", "email"), ("account", "email_sealed"), Sealed, "the e-mail address that was given"),
    both("account", "kdf_salt", Clear, "from which the client derives its secrets"),
    both("account", "kdf_memory_kib", Clear, "the same"),
    both("account", "kdf_iterations", Clear, "the same"),
    both("account", "kdf_parallelism", Clear, "the same"),
    both("account", "password_hash", Hashed, "the password's auth secret, by Argon2id, sealed"),
    both("account", "recovery_hash", Hashed, "the recovery code's auth secret, by Argon2id, sealed"),
    both("account", "vault", Encrypted, "the account's private keys, encrypted by its client, sealed again"),
    both("account", "password_wrap", Encrypted, "the vault's key under the password, sealed again"),
    both("account", "recovery_wrap", Encrypted, "the vault's key under the recovery code, sealed again"),
    both("account", "identity_key", Public, "signs device lists and credentials"),
    both("account", "backup_key", Public, "for backups"),
    both("account", "device_list", Public, "the signed list of its devices"),
    both("account", "list_version", Clear, "that list's version"),
    both("account", "created_ms", Clear, "when it signed up"),
    both("account", "disabled_ms", Clear, "since when the operator has locked it"),
    both("account", "deleted_ms", Clear, "since when it is deleted: then all else here but the name is empty"),
    both("account", "rotations", Public, "what its former identities signed for the next ones"),
    sqlite("device", "id", Clear, "its row"),
    twin(("device", "public_id"), ("device", "id"), Clear, "its random id"),
    both("device", "account", Clear, "whose it is"),
    both("device", "authentication_key", Public, "signs it in"),
    mysql("device", "last_resort", Public, "its key package for when no other is left"),
    mysql("device", "last_resort_ms", Clear, "when that came"),
    both("device", "inbox_seq", Clear, "the last number in its inbox"),
    twin(("device", "created_ms"), ("device", "enrolled_ms"), Clear, "when it was enrolled"),
    both("device", "seen_day", Clear, "the day of its last sign-in, counted from 1970"),
    both("former_device", "id", Clear, "a removed device that has sent what others have not fetched"),
    both("former_device", "account", Clear, "whose it was"),
    both("key_package", "id", Clear, "its row"),
    both("key_package", "device", Clear, "whose it is"),
    sqlite("key_package", "last_resort", Clear, "whether it is the one for when no other is left"),
    both("key_package", "payload", Public, "public keys and a credential"),
    both("key_package", "stored_ms", Clear, "when it came"),
    sqlite("conversation", "id", Clear, "its row"),
    twin(("conversation", "public_id"), ("conversation", "id"), Clear, "its random id"),
    sqlite("conversation", "pair_low", Clear, "the two accounts of a direct conversation"),
    sqlite("conversation", "pair_high", Clear, "the same"),
    both("conversation", "creator", Clear, "the device that made it"),
    both("conversation", "created_seq", Clear, "what that was answered with"),
    sqlite("conversation", "created_ms", Clear, "when it was made"),
    both("conversation", "head", Clear, "how many entries it ever had"),
    mysql("conversation", "tail", Clear, "the oldest entry that is still there"),
    both("conversation", "commits", Clear, "how many of them were commits"),
    twin(("conversation", "last_commit_ms"), ("conversation", "committed_ms"), Clear, "when the last of these came"),
    both("group_info", "conversation", Clear, "the state of a group, for devices that let themselves in: where"),
    both("group_info", "sealed", Encrypted, "that state, under a key that only the members have"),
    both("group_info", "sender", Clear, "the device that left it there"),
    both("room", "conversation", Clear, "a group or room: which conversation"),
    both("room", "name", Clear, "the name of a public room; none of a private group"),
    mysql("direct_conversation", "low_account", Clear, "the two accounts of a direct conversation"),
    mysql("direct_conversation", "high_account", Clear, "the same"),
    mysql("direct_conversation", "conversation", Clear, "which one"),
    twin(
        ("roster", "conversation"),
        ("participant", "conversation"),
        Clear,
        "an account that is in a conversation: which one",
    ),
    twin(("roster", "account"), ("participant", "account"), Clear, "who"),
    twin(
        ("member", "conversation"),
        ("membership", "conversation"),
        Clear,
        "a device that is in a conversation: which one",
    ),
    twin(("member", "device"), ("membership", "device"), Clear, "the device"),
    twin(("member", "start"), ("membership", "start_seq"), Clear, "it sees what comes after this entry"),
    twin(("member", "cursor"), ("membership", "cursor_seq"), Clear, "up to here it has everything"),
    twin(("member", "sent"), ("membership", "sent"), Clear, "how much it has sent there"),
    twin(("member", "left_at"), ("membership", "left_at"), Clear, "the entry that removed it"),
    twin(
        ("member", "join_digest"),
        ("membership", "join_digest"),
        Clear,
        "if it let itself in: the SHA-256 of that entry",
    ),
    twin(("member", "join_ms"), ("membership", "join_ms"), Clear, "and when"),
    sqlite("entry", "id", Clear, "in which order all entries came"),
    sqlite("entry", "place", Clear, "conversation and place in it"),
    both("entry", "conversation", Clear, "where"),
    both("entry", "seq", Clear, "its place there"),
    both("entry", "time_ms", Clear, "when it came"),
    twin(("entry", "is_commit"), ("entry", "kind"), Clear, "whether it is a commit or a message"),
    both("entry", "sender", Clear, "the device that sent it"),
    both("entry", "number", Clear, "how many that device had sent there"),
    mysql("entry", "size", Clear, "its length"),
    both("entry", "payload", Encrypted, "an MLS message; its group, epoch and kind are readable"),
    sqlite("former_member", "conversation", Clear, "where a device is not any more"),
    sqlite("former_member", "device", Clear, "the device"),
    sqlite("former_member", "sent", Clear, "how much it had sent there"),
    twin(
        ("sent", "conversation"),
        ("receipt", "conversation"),
        Clear,
        "one of a device's last 256 sends (in SQLite only if its entry went before the device had acknowledged it): where",
    ),
    twin(("sent", "device"), ("receipt", "device"), Clear, "which device"),
    twin(("sent", "slot"), ("receipt", "slot"), Clear, "number modulo 256"),
    twin(("sent", "number"), ("receipt", "number"), Clear, "which send"),
    twin(("sent", "seq"), ("receipt", "seq"), Clear, "what it became"),
    twin(("sent", "time_ms"), ("receipt", "time_ms"), Clear, "when"),
    sqlite("welcome", "id", Clear, "its row"),
    both("welcome", "conversation", Clear, "into which conversation it lets devices"),
    both("welcome", "seq", Clear, "from which entry on"),
    both("welcome", "commits", Clear, "after how many commits"),
    mysql("welcome", "time_ms", Clear, "when it came"),
    both("welcome", "payload", Encrypted, "an MLS welcome, encrypted to the devices' key packages"),
    both("welcome", "sender", Clear, "the device that sent it"),
    both("inbox", "device", Clear, "for which device"),
    both("inbox", "seq", Clear, "its number there"),
    both("inbox", "time_ms", Clear, "when it came"),
    mysql("inbox", "kind", Clear, "a welcome, or news of a device list"),
    sqlite("inbox", "welcome", Clear, "the welcome"),
    mysql("inbox", "welcome_seq", Clear, "which welcome"),
    both("inbox", "username", Clear, "who has a new device list"),
    both("inbox", "list_version", Clear, "that list's version"),
    both("inbox", "conversation", Clear, "where a welcome lets it in, or somebody asks to be let in"),
    both("inbox", "asker", Clear, "the device that asks, or leaves"),
    both("inbox", "wish", Public, "its account's signed wish to leave"),
    mysql("inbox", "size", Clear, "the welcome's length"),
    both("manifest", "account", Clear, "whose backup it is"),
    both("manifest", "version", Clear, "how often it was made"),
    both(
        "manifest",
        "payload",
        Encrypted,
        "what is in the backup, encrypted by the client but for its counters and signature",
    ),
    both("segment", "account", Clear, "whose backup it belongs to"),
    sqlite("segment", "id", Clear, "its row"),
    twin(("segment", "public_id"), ("segment", "id"), Clear, "its random id"),
    both("segment", "device", Clear, "the device that stored it"),
    both("segment", "size", Clear, "its length"),
    both("segment", "stored_ms", Clear, "when it came"),
    mysql("segment", "payload", Encrypted, "messages, encrypted by the client and padded"),
    sqlite("segment_payload", "segment", Clear, "of which segment"),
    sqlite("segment_payload", "payload", Encrypted, "messages, encrypted by the client and padded"),
    sqlite("dropped_segment", "segment", Clear, "a segment whose payload is about to be deleted"),
    both("attachment", "id", Clear, "the random id of a file, by which whoever knows it may fetch its ciphertext"),
    both("attachment", "account", Clear, "who has uploaded it"),
    both("attachment", "size", Clear, "its length, padded"),
    both("attachment", "begun_ms", Clear, "when the upload began"),
    both("attachment", "finished_ms", Clear, "when it was complete"),
    both("attachment", "dropped", Clear, "whether it is about to be deleted"),
    mysql("node", "id", Clear, "one life of one of the servers that share the database, at random"),
    mysql("node", "name", Clear, "what its operator calls it"),
    mysql("node", "version", Clear, "of its program"),
    mysql("node", "since_ms", Clear, "since when it runs"),
    mysql("node", "seen_ms", Clear, "when it said so last"),
    mysql(
        "code",
        "request",
        Hashed,
        "what a one-time code is good for: kind, name and the keyed hash of the address, by SHA-256",
    ),
    mysql("code", "hash", Hashed, "the code, by HMAC-SHA-256 under a key that is not in the database"),
    mysql("code", "until_ms", Clear, "until when it is good"),
    mysql("code", "again_ms", Clear, "when another one can be asked for"),
    mysql("code", "tries", Clear, "how often it may still be tried"),
    both("invite", "code_hash", Hashed, "the code (120 random bits), by SHA-256"),
    both("invite", "uses_left", Clear, "how many accounts it still lets in"),
    both("invite", "expires_ms", Clear, "until when"),
    both("invite", "note", Clear, "the operator's note"),
    both("invite", "created_ms", Clear, "when it was made"),
];

/// The table of SECURITY.md.
pub fn page() -> String {
    let mut page = "| Column | In MySQL | Kept | What it is |\n|---|---|---|---|\n".to_owned();
    for Column { sqlite, mysql, protection, meaning } in COLUMNS {
        let name = |place: &(&str, &str)| format!("`{}.{}`", place.0, place.1);
        let (own, other) = (sqlite.as_ref().map(name), mysql.as_ref().map(name));
        let other = if own == other { Some("the same".to_owned()) } else { other };
        let none = || "–".to_owned();
        let line =
            format!("| {} | {} | {protection} | {meaning} |\n", own.unwrap_or_else(none), other.unwrap_or_else(none));
        page.push_str(&line);
    }
    page
}
