//! Stands for MLS: epochs, generations and who is in, without a cipher. Secrets that were used are gone, as there.

use std::collections::BTreeMap;

/// Devices by their number, as bits.
pub(super) type Members = u8;

/// What a ciphertext holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Inside {
    Message(Vec<u8>),
    /// Who goes and who comes; whoever is both starts anew.
    Commit {
        removed: Members,
        added: Members,
    },
}

/// A ciphertext.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sealed {
    pub(super) device: u8,
    pub(super) epoch: u64,
    pub(super) generation: u64,
    pub(super) inside: Inside,
}

impl Sealed {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.device];
        bytes.extend(self.epoch.to_be_bytes());
        bytes.extend(self.generation.to_be_bytes());
        match &self.inside {
            Inside::Message(content) => {
                bytes.push(0);
                bytes.extend(content);
            }
            Inside::Commit { removed, added } => bytes.extend([1, *removed, *added]),
        }
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (device, rest) = bytes.split_first()?;
        let (epoch, rest) = rest.split_first_chunk::<8>()?;
        let (generation, rest) = rest.split_first_chunk::<8>()?;
        let inside = match rest.split_first()? {
            (0, content) => Inside::Message(content.to_vec()),
            (_, [removed, added]) => Inside::Commit { removed: *removed, added: *added },
            _ => return None,
        };
        let (epoch, generation) = (u64::from_be_bytes(*epoch), u64::from_be_bytes(*generation));
        Some(Self { device: *device, epoch, generation, inside })
    }
}

/// Why something cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    NotThisEpoch,
    /// The secret was used.
    Used,
    Malformed,
}

/// What a device keeps of the group.
#[derive(Clone, Debug)]
pub(super) struct Group {
    own: u8,
    pub(super) epoch: u64,
    pub(super) members: Members,
    next: u64,
    /// The next generation of each sender.
    heard: BTreeMap<u8, u64>,
    pending: Option<(Members, Members)>,
}

impl Group {
    pub(super) fn new(own: u8, epoch: u64, members: Members) -> Self {
        Self { own, epoch, members, next: 0, heard: BTreeMap::new(), pending: None }
    }

    pub(super) fn encrypt(&mut self, content: &[u8]) -> Vec<u8> {
        let sealed = self.sealed(Inside::Message(content.to_vec()));
        sealed.to_bytes()
    }

    /// Makes a commit, which waits for the log.
    pub(super) fn prepare(&mut self, removed: Members, added: Members) -> Vec<u8> {
        self.pending = Some((removed, added));
        self.sealed(Inside::Commit { removed, added }).to_bytes()
    }

    fn sealed(&mut self, inside: Inside) -> Sealed {
        let generation = self.next;
        self.next += 1;
        Sealed { device: self.own, epoch: self.epoch, generation, inside }
    }

    pub(super) fn rejected(&mut self) {
        self.pending = None;
    }

    /// The log shows our commit.
    pub(super) fn accepted(&mut self) {
        if let Some((removed, added)) = self.pending.take() {
            self.advance(removed, added);
        }
    }

    /// Reads what another device has sealed.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Result<Inside, Fault> {
        let sealed = Sealed::from_bytes(bytes).ok_or(Fault::Malformed)?;
        if sealed.epoch != self.epoch || self.members & (1 << sealed.device) == 0 {
            return Err(Fault::NotThisEpoch);
        }
        let next = self.heard.entry(sealed.device).or_default();
        if sealed.generation < *next {
            return Err(Fault::Used);
        }
        *next = sealed.generation + 1;
        if let Inside::Commit { removed, added } = sealed.inside {
            self.advance(removed, added);
        }
        Ok(sealed.inside)
    }

    /// Whether this device is in it, and was not put out and in again.
    pub(super) fn is_inside(&self) -> bool {
        self.members & (1 << self.own) != 0
    }

    fn advance(&mut self, removed: Members, added: Members) {
        self.epoch += 1;
        // Whoever comes anew has other keys: those of before are out.
        self.members = (self.members & !removed) | (added & !(1 << self.own));
        (self.next, self.pending) = (0, None);
        self.heard.clear();
    }
}
