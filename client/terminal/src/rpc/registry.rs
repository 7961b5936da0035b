//! The methods that there are: one list, for the socket and for the OpenRPC document.

use super::{
    Context, Method, account, backup, chats, deeds, files, groups, messages, preferences, presence, profile, search,
    subscription, transfer, trust, wire::WireError,
};
use schemars::{JsonSchema as _, Schema, SchemaGenerator};
use serde_json::value::RawValue;
use std::{future::Future, pin::Pin};

type Running<'a> = Pin<Box<dyn Future<Output = Result<Box<RawValue>, WireError>> + Send + 'a>>;

/// A method without its types.
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    pub(super) run: for<'a> fn(&'a Context, &'a str) -> Running<'a>,
    pub(super) params: fn(&mut SchemaGenerator) -> Schema,
    pub(super) result: fn(&mut SchemaGenerator) -> Schema,
}

impl Entry {
    const fn of<M: Method>() -> Self {
        Self {
            name: M::NAME,
            summary: M::SUMMARY,
            run: run::<M>,
            params: |generator| M::Params::json_schema(generator),
            result: |generator| generator.subschema_for::<M::Result>(),
        }
    }
}

fn run<'a, M: Method>(context: &'a Context, params: &'a str) -> Running<'a> {
    Box::pin(async move {
        let params = serde_json::from_str(params);
        let params = params.map_err(|error| WireError::new(WireError::PARAMS, error.to_string()))?;
        let result = M::run(context, params).await?;
        serde_json::value::to_raw_value(&result).map_err(|error| crate::Failure::Io(error.into()).into())
    })
}

/// All methods. A new one has its line here.
pub(super) const METHODS: &[Entry] = &[
    Entry::of::<profile::Whoami>(),
    Entry::of::<profile::CatchUp>(),
    Entry::of::<profile::Status>(),
    Entry::of::<profile::Lock>(),
    Entry::of::<chats::Chats>(),
    Entry::of::<chats::OpenChat>(),
    Entry::of::<chats::History>(),
    Entry::of::<chats::MarkRead>(),
    Entry::of::<groups::Rooms>(),
    Entry::of::<groups::JoinRoom>(),
    Entry::of::<groups::CreateGroup>(),
    Entry::of::<groups::Group>(),
    Entry::of::<groups::ChangeGroup>(),
    Entry::of::<groups::LeaveGroup>(),
    Entry::of::<messages::Send>(),
    Entry::of::<messages::Queue>(),
    Entry::of::<messages::Sent>(),
    Entry::of::<messages::Unreceived>(),
    Entry::of::<messages::Acknowledge>(),
    Entry::of::<account::LogInAgain>(),
    Entry::of::<deeds::Edit>(),
    Entry::of::<deeds::Delete>(),
    Entry::of::<deeds::React>(),
    Entry::of::<deeds::Pin>(),
    Entry::of::<deeds::ShowMessage>(),
    Entry::of::<deeds::Pinned>(),
    Entry::of::<deeds::Page>(),
    Entry::of::<search::Search>(),
    Entry::of::<presence::SetPresence>(),
    Entry::of::<presence::PresentUsers>(),
    Entry::of::<presence::Users>(),
    Entry::of::<preferences::SetTimer>(),
    Entry::of::<preferences::SetDraft>(),
    Entry::of::<preferences::Typing>(),
    Entry::of::<preferences::Mute>(),
    Entry::of::<preferences::Block>(),
    Entry::of::<preferences::Blocked>(),
    Entry::of::<preferences::Accept>(),
    Entry::of::<preferences::Decline>(),
    Entry::of::<preferences::SetFullName>(),
    Entry::of::<preferences::Settings>(),
    Entry::of::<preferences::SwitchSetting>(),
    Entry::of::<files::SendFile>(),
    Entry::of::<files::QueueFile>(),
    Entry::of::<files::Files>(),
    Entry::of::<files::Download>(),
    Entry::of::<files::Thumbnail>(),
    Entry::of::<account::Devices>(),
    Entry::of::<account::RenameDevice>(),
    Entry::of::<account::RevokeDevices>(),
    Entry::of::<account::RepairDevices>(),
    Entry::of::<account::ChangePassword>(),
    Entry::of::<account::RotateIdentity>(),
    Entry::of::<account::DeleteAccount>(),
    Entry::of::<trust::ShowIdentity>(),
    Entry::of::<trust::Verify>(),
    Entry::of::<trust::Trust>(),
    Entry::of::<backup::BackupStatus>(),
    Entry::of::<backup::BackupNow>(),
    Entry::of::<backup::BackupDrill>(),
    Entry::of::<backup::BackupSwitch>(),
    Entry::of::<backup::Restore>(),
    Entry::of::<transfer::Export>(),
    Entry::of::<transfer::Import>(),
    Entry::of::<subscription::Subscribe>(),
];

/// The method of this name.
pub(super) fn find(name: &str) -> Option<&'static Entry> {
    METHODS.iter().find(|method| method.name == name)
}
