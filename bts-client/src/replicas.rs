//! How the links to the replicas are, as the connections tell and errors and status read it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bts_certs::cluster::Cluster;
use bts_certs::{Closer, LinkError, Traffic};
use bts_core::ids::ReplicaId;
use tokio::sync::Notify;

use crate::error::{RollCall, Silent};

/// How the link to a replica is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// The first attempt is under way.
    Connecting,
    /// The replica has welcomed us.
    Connected,
    /// No link can be made, or it was lost; with the reason. It is tried again.
    Unreachable(String),
    /// The replica refuses us, with its reason: our certificate, or what we believe the cluster to
    /// be. It is tried again.
    RefusesUs(String),
    /// Who answers there is not the replica of the cluster file. It is tried again.
    NotTrusted(String),
}

impl LinkState {
    /// What the failure of a link says about the replica, if it came before the welcome.
    pub(crate) fn of(error: &LinkError) -> Self {
        match error {
            LinkError::RefusedByPeer(_) | LinkError::ClosedByPeer(_) => {
                Self::RefusesUs(error.to_string())
            }
            LinkError::RefusedPeer(_) | LinkError::Certificate(_) | LinkError::NotAReplica(_) => {
                Self::NotTrusted(error.to_string())
            }
            other => Self::Unreachable(other.to_string()),
        }
    }

    fn is_refusal(&self) -> bool {
        matches!(self, Self::RefusesUs(_) | Self::NotTrusted(_))
    }
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting => f.write_str("not reached yet"),
            Self::Connected => f.write_str("connected, but silent"),
            Self::Unreachable(reason) => write!(f, "unreachable: {reason}"),
            Self::RefusesUs(reason) => write!(f, "refuses us: {reason}"),
            Self::NotTrusted(reason) => write!(f, "not the replica of the cluster file: {reason}"),
        }
    }
}

/// So many refusals in a row are believed: one alone may be that of a replica that is starting.
const REFUSALS_FIRM: u32 = 2;

/// The links to all replicas, shared by the connections and everybody who asks.
#[derive(Debug)]
pub(crate) struct Board {
    links: Mutex<Vec<Link>>,
    leaving: AtomicBool,
    came_up: Notify,
}

#[derive(Clone, Debug)]
struct Link {
    state: LinkState,
    /// How often in a row the attempts ended in a refusal.
    refusals: u32,
    /// The link, while there is one, and what went over those before it.
    open: Option<Closer>,
    before: Traffic,
}

impl Board {
    pub(crate) fn new(replicas: usize) -> Self {
        let link = Link {
            state: LinkState::Connecting,
            refusals: 0,
            open: None,
            before: Traffic::default(),
        };
        Self {
            links: Mutex::new(vec![link; replicas]),
            leaving: AtomicBool::new(false),
            came_up: Notify::new(),
        }
    }

    /// True if this is news.
    pub(crate) fn set(&self, replica: ReplicaId, state: LinkState) -> bool {
        let mut links = self.lock();
        let Some(link) = links.get_mut(usize::from(replica.0)) else {
            return false;
        };
        link.refusals = match state.is_refusal() {
            true => link.refusals.saturating_add(1),
            false => 0,
        };
        let is_news = std::mem::replace(&mut link.state, state.clone()) != state;
        if is_news && state == LinkState::Connected {
            self.came_up.notify_waiters();
        }
        is_news
    }

    /// The link to a replica is this one from now on, or there is none.
    pub(crate) fn set_link(&self, replica: ReplicaId, open: Option<Closer>) {
        if let Some(link) = self.lock().get_mut(usize::from(replica.0)) {
            let ended = std::mem::replace(&mut link.open, open);
            link.before = link.before + ended.map(|link| link.traffic()).unwrap_or_default();
        }
    }

    /// What went over all links so far.
    pub(crate) fn traffic(&self) -> Traffic {
        let links = self.lock();
        let now = |link: &Link| link.open.as_ref().map(Closer::traffic).unwrap_or_default();
        links.iter().map(|link| link.before + now(link)).sum()
    }

    /// Waits until a replica welcomes us from now on. Then others may be back as well: a power cut ends
    /// for all of them at about the same time.
    pub(crate) async fn somebody_comes_up(&self) {
        self.came_up.notified().await;
    }

    pub(crate) fn states(&self) -> Vec<LinkState> {
        self.lock().iter().map(|link| link.state.clone()).collect()
    }

    /// From now on the end of a link is wanted.
    pub(crate) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
        for link in self.lock().iter_mut() {
            link.state = LinkState::Unreachable("the client is closed".into());
        }
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// How many replicas refuse us, or are not who they should be, for sure: trying again is of no
    /// use until somebody changes something.
    pub(crate) fn firm_refusals(&self) -> usize {
        let links = self.lock();
        links
            .iter()
            .filter(|link| link.refusals >= REFUSALS_FIRM)
            .count()
    }

    /// True if no first attempt is under way.
    pub(crate) fn is_settled(&self) -> bool {
        self.lock()
            .iter()
            .all(|link| link.state != LinkState::Connecting)
    }

    /// Who answered, and how the links to the others are.
    pub(crate) fn roll_call(&self, cluster: &Cluster, answered: Vec<ReplicaId>) -> RollCall {
        let silent = cluster.members().zip(self.states());
        let silent = silent.filter(|((replica, _), _)| !answered.contains(replica));
        RollCall {
            needed: cluster.configuration().size().ack_quorum(),
            silent: silent
                .map(|((replica, member), link)| Silent {
                    replica,
                    address: member.address.clone(),
                    link,
                })
                .collect(),
            answered,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[test]
    fn replicas_one_refusal_is_not_believed_two_in_a_row_are() {
        let (board, replica) = (Board::new(2), ReplicaId(1));
        let refusal = || LinkState::RefusesUs("not ready".into());
        board.set(replica, refusal());
        assert_eq!(board.firm_refusals(), 0);
        board.set(replica, LinkState::Unreachable("gone".into()));
        board.set(replica, refusal());
        assert_eq!(board.firm_refusals(), 0, "not in a row");
        board.set(replica, refusal());
        assert_eq!(board.firm_refusals(), 1);
        assert!(!board.is_settled(), "the other is not reached yet");
        board.set(ReplicaId(0), LinkState::Connected);
        assert!(board.is_settled());
        board.set(ReplicaId(7), LinkState::Connected);
        assert_eq!(board.states(), [LinkState::Connected, refusal()]);
    }

    #[tokio::test]
    async fn replicas_one_that_comes_up_wakes_who_waits_for_others() {
        let board = Board::new(2);
        let (one, other) = (ReplicaId(0), ReplicaId(1));
        let mut waiting = pin!(board.somebody_comes_up());
        let moment = Duration::from_millis(1);
        assert!(timeout(moment, &mut waiting).await.is_err());
        board.set(one, LinkState::Unreachable("gone".into()));
        assert!(timeout(moment, &mut waiting).await.is_err());
        board.set(other, LinkState::Connected);
        waiting.await;
        let mut waiting = pin!(board.somebody_comes_up());
        assert!(timeout(moment, &mut waiting).await.is_err());
        board.set(other, LinkState::Connected);
        assert!(timeout(moment, &mut waiting).await.is_err(), "it was up");
    }
}
