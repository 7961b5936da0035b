//! `waxwing-torture`: real servers and clients at work while things break, and a check of what they promise.
//!
//! `world` sets a server and devices up, `run` lets the devices write while `faults` break things, heals, and asks
//! every device what it shows; [`checker`] judges the recorded [`history`] by itself. What goes wrong is told as a
//! `story`: the few events around it. `sweep` kills programs at named points instead of random moments.

pub mod checker;
mod database;
mod device;
pub mod faults;
pub mod history;
mod recorder;
pub mod run;
mod story;
pub mod sweep;
mod world;
