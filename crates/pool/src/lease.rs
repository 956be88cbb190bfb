//! Who may hold how many slots of which environment, and until when.
//!
//! Pure but for the ids, which come from the operating system's randomness: time is passed in, and nothing here acts. A
//! lease past its expiry keeps its slots until [`LeaseTable::expired`] hands it to whoever ends its episodes; until then
//! renewing it, or acquiring with its token, revives it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

/// The longest client token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 128;

/// 128 random bits in hex: whoever knows it may use the lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(pub String);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl LeaseId {
    fn random() -> Result<Self, LeaseError> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).map_err(|error| LeaseError::Randomness(error.to_string()))?;
        Ok(Self(format!("{:032x}", u128::from_be_bytes(bits))))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub id: LeaseId,
    pub client_token: String,
    pub environment: String,
    pub slots: usize,
    pub expires_at: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseLimits {
    /// Leases at once, of all environments.
    pub max_leases: usize,
    pub min_ttl: Duration,
    pub max_ttl: Duration,
    /// Where a client names none.
    pub default_ttl: Duration,
    /// Slots that all leases of an environment may hold together. Only these environments can be leased.
    pub capacity: BTreeMap<String, usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LeaseError {
    #[error("client_token must have 1 to {MAX_TOKEN_BYTES} bytes, not {0}")]
    Token(usize),
    #[error("no such environment: {0}")]
    UnknownEnvironment(String),
    #[error("slots must be 1 to {max}, not {asked}")]
    Slots { asked: usize, max: usize },
    #[error("ttl must be {min:?} to {max:?}, not {asked:?}")]
    Ttl { asked: Duration, min: Duration, max: Duration },
    /// The client token already names a lease on something else.
    #[error("client_token names a lease on {slots} slots of {environment}")]
    TokenTaken { environment: String, slots: usize },
    #[error("only {free} of {capacity} slots of {environment} are free")]
    NoCapacity { environment: String, free: usize, capacity: usize },
    #[error("there are {0} leases, which is the most")]
    TooManyLeases(usize),
    #[error("no such lease, or it expired")]
    UnknownLease,
    #[error("no randomness from the operating system: {0}")]
    Randomness(String),
}

impl LeaseError {
    /// The field of the request that is at fault, in the API's words, where one is.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Token(_) | Self::TokenTaken { .. } => Some("client_token"),
            Self::UnknownEnvironment(_) => Some("environment"),
            Self::Slots { .. } | Self::NoCapacity { .. } => Some("slots"),
            Self::Ttl { .. } => Some("ttl_ms"),
            Self::UnknownLease => Some("lease_id"),
            Self::TooManyLeases(_) | Self::Randomness(_) => None,
        }
    }
}

/// All leases of the farm.
#[derive(Debug)]
pub struct LeaseTable {
    limits: LeaseLimits,
    leases: BTreeMap<LeaseId, Lease>,
    by_token: BTreeMap<String, LeaseId>,
    held: BTreeMap<String, usize>,
}

impl LeaseTable {
    pub fn new(limits: LeaseLimits) -> Self {
        Self { limits, leases: BTreeMap::new(), by_token: BTreeMap::new(), held: BTreeMap::new() }
    }

    /// A new lease, or the one that `client_token` already names, renewed. `ttl: None` is the default.
    pub fn acquire(
        &mut self,
        client_token: &str,
        environment: &str,
        slots: usize,
        ttl: Option<Duration>,
        now: Instant,
    ) -> Result<Lease, LeaseError> {
        if client_token.is_empty() || client_token.len() > MAX_TOKEN_BYTES {
            return Err(LeaseError::Token(client_token.len()));
        }
        let Some(&capacity) = self.limits.capacity.get(environment) else {
            // Bounded, since the name is the client's and travels on in messages.
            return Err(LeaseError::UnknownEnvironment(environment.chars().take(MAX_TOKEN_BYTES).collect()));
        };
        if slots == 0 || slots > capacity {
            return Err(LeaseError::Slots { asked: slots, max: capacity });
        }
        let expires_at = now + self.ttl(ttl)?;
        if let Some(lease) = self.by_token.get(client_token).and_then(|id| self.leases.get_mut(id)) {
            if lease.environment != environment || lease.slots != slots {
                return Err(LeaseError::TokenTaken { environment: lease.environment.clone(), slots: lease.slots });
            }
            lease.expires_at = lease.expires_at.max(expires_at);
            return Ok(lease.clone());
        }
        if self.leases.len() >= self.limits.max_leases {
            return Err(LeaseError::TooManyLeases(self.leases.len()));
        }
        let free = capacity - self.slots_held(environment);
        if slots > free {
            return Err(LeaseError::NoCapacity { environment: environment.to_owned(), free, capacity });
        }
        let lease =
            Lease { id: LeaseId::random()?, client_token: client_token.to_owned(), environment: environment.to_owned(), slots, expires_at };
        *self.held.entry(environment.to_owned()).or_default() += slots;
        self.by_token.insert(client_token.to_owned(), lease.id.clone());
        self.leases.insert(lease.id.clone(), lease.clone());
        Ok(lease)
    }

    /// Moves the expiry to `ttl` from now, earlier or later.
    pub fn renew(&mut self, id: &LeaseId, ttl: Option<Duration>, now: Instant) -> Result<Lease, LeaseError> {
        let expires_at = now + self.ttl(ttl)?;
        let lease = self.leases.get_mut(id).ok_or(LeaseError::UnknownLease)?;
        lease.expires_at = expires_at;
        Ok(lease.clone())
    }

    /// Ends a lease; `None` if there is none, which is no error.
    pub fn release(&mut self, id: &LeaseId) -> Option<Lease> {
        let lease = self.leases.remove(id)?;
        self.by_token.remove(&lease.client_token);
        if let Some(held) = self.held.get_mut(&lease.environment) {
            *held -= lease.slots;
        }
        Some(lease)
    }

    /// Takes out every lease whose expiry has come.
    pub fn expired(&mut self, now: Instant) -> Vec<Lease> {
        let over: Vec<LeaseId> = self.leases.values().filter(|l| l.expires_at <= now).map(|l| l.id.clone()).collect();
        over.iter().filter_map(|id| self.release(id)).collect()
    }

    pub fn get(&self, id: &LeaseId) -> Option<&Lease> {
        self.leases.get(id)
    }

    /// Slots of the environment that leases hold now.
    pub fn slots_held(&self, environment: &str) -> usize {
        self.held.get(environment).copied().unwrap_or(0)
    }

    pub fn len(&self) -> usize {
        self.leases.len()
    }

    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    fn ttl(&self, asked: Option<Duration>) -> Result<Duration, LeaseError> {
        let LeaseLimits { min_ttl: min, max_ttl: max, default_ttl, .. } = self.limits;
        match asked {
            None => Ok(default_ttl),
            Some(asked) if asked < min || asked > max => Err(LeaseError::Ttl { asked, min, max }),
            Some(asked) => Ok(asked),
        }
    }
}
