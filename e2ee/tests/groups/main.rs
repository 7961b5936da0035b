//! Groups as users and attackers meet them: devices with their own databases, and nothing between them but bytes.

#![expect(unreachable_pub, reason = "a test has no outside")]

mod actors;
mod chat;
mod gate;
mod membership;
mod storage;
