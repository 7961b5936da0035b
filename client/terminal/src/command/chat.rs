//! `chat`: the live chat with one user.

use crate::{
    Failure,
    chat::{self, Reading},
    cli::Options,
    command::{close, find, open},
};
use waxwing_core::Client;

pub(crate) async fn run(options: &Options, user: &str) -> Result<(), Failure> {
    if options.json {
        return Err(Failure::usage(
            "the chat has no JSON",
            "use 'waxwing send' and 'waxwing receive --follow --json', which are made for scripts",
        ));
    }
    let client = open(options).await?;
    let chatted = enter(&client, user, Reading::of_this_terminal(options.plain)).await;
    close(client).await;
    chatted
}

async fn enter(client: &Client, user: &str, reading: Reading) -> Result<(), Failure> {
    let events = client.events();
    client.go_online();
    let user = find(client, user).await?;
    chat::run(client, events, &user, reading).await
}
