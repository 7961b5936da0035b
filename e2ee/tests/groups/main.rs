//! Groups as users and attackers meet them: devices with their own databases, and nothing between them but bytes.

#![expect(unreachable_pub, reason = "a test has no outside")]

mod actors;
mod batch;
mod chat;
mod external;
mod gate;
mod lists;
mod membership;
mod people;
mod rotation;
mod rules;
mod storage;
