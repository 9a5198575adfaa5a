//! What schedules need besides the language of `sim::cluster`: clients without conscience,
//! accomplices, and ears.

use std::sync::{Arc, Mutex};

use bts_core::configuration::Policy;
use bts_core::consensus::ballot::owner;
use bts_core::consensus::promise::PromisePayload;
use bts_core::content::Content;
use bts_core::crypto::sign::SignedBytes;
use bts_core::ids::{
    Ballot, ContentHash, EntryId, Epoch, ReplicaId, RequestId, Session, TakeNumber,
};
use bts_core::message::{ClientBody, ClientRequest, PeerMessage, TakeRequest};
use bts_core::tuple::Tuple;
use bts_tests::adversary::client::HostileClient;
use bts_tests::adversary::forge::{self, ClientForge};
use bts_tests::adversary::habit::Habit;
use bts_tests::adversary::{Gang, Vice};
use bts_tests::sim::cluster::{Cluster, space};
use bts_tests::sim::node::{Flight, Message, Node, replica};
use bts_tests::sim::rng::Rng;
use bts_tests::sim::setup::{Setup, client_ref};

/// A client that does what a test says.
pub(crate) struct Villain {
    pub(crate) node: usize,
    pub(crate) forge: ClientForge,
    requests: u64,
}

/// An entry with what is needed to take it.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) id: EntryId,
    pub(crate) hash: ContentHash,
    pub(crate) content: Content,
}

impl Villain {
    /// A villain connected to everybody.
    pub(crate) fn join(c: &mut Cluster) -> Self {
        let key = c.world.setup.client_key(1_000_000);
        let configuration = Arc::clone(&c.world.configuration);
        let forge = ClientForge::new(&configuration, key.clone(), Session(1));
        let mute = HostileClient::new(forge.clone(), Gang::new(configuration), 0, Rng::new(1));
        let identity = client_ref(&key, Session(1));
        let node = c.world.add_client_machine(Box::new(mute), identity, false);
        c.world.connect_client(node, 1);
        c.run_ms(10);
        Self {
            node,
            forge,
            requests: 0,
        }
    }

    /// Says something to one replica.
    pub(crate) fn tell(&mut self, c: &mut Cluster, to: u16, body: ClientBody) {
        self.requests += 1;
        let request = ClientRequest {
            request: RequestId(self.requests),
            settled_below: TakeNumber(0),
            body,
        };
        c.world.send(Flight {
            from: Node::Client(self.node),
            to: replica(to),
            message: Message::Request(request),
        });
    }

    /// An entry of its own.
    pub(crate) fn entry(&self, c: &Cluster, seq: u64, tuple: Tuple) -> Entry {
        let signed = self.forge.entry(self.forge.id(&space(), seq), tuple);
        Entry {
            id: self.forge.id(&space(), seq),
            hash: forge::content_hash(&c.world.configuration, &signed),
            content: Content::Signed(signed),
        }
    }

    /// Writes an entry to some replicas.
    pub(crate) fn write(&mut self, c: &mut Cluster, entry: &Entry, to: &[u16]) {
        let Content::Signed(signed) = &entry.content else {
            unreachable!("villains write no puts");
        };
        for replica in to {
            let entry = signed.clone();
            self.tell(c, *replica, ClientBody::Out { entry });
        }
    }

    /// A Take of an entry, as its number says, that puts these.
    pub(crate) fn take(
        &self,
        entry: &Entry,
        number: u64,
        epoch: u8,
        puts: Vec<Tuple>,
    ) -> TakeRequest {
        let puts = puts.into_iter().map(Into::into).collect();
        let epoch = Epoch(epoch);
        let take = self
            .forge
            .take(number, entry.id.clone(), entry.hash, epoch, puts);
        TakeRequest {
            take,
            content: Some(entry.content.clone()),
            released: None,
        }
    }
}

/// The number of an entry of the villain whose first recovery belongs to this replica.
pub(crate) fn number_owned_by(c: &Cluster, forge: &ClientForge, owned_by: u16) -> u64 {
    let size = c.world.configuration.size();
    let mut numbers = 0..1000;
    let is_owned = |seq: &u64| {
        let id = forge.id(&space(), *seq);
        owner(size, &id, Epoch(0), Ballot(1)) == ReplicaId(owned_by)
    };
    numbers.find(is_owned).expect("every replica owns some")
}

/// Four replicas of which s3 has these habits, all the time.
pub(crate) fn beside(habits: &[Habit], policy: Policy) -> Cluster {
    let setup = Setup {
        policy,
        ..Setup::calm(4, 1)
    };
    let configuration = setup.configuration();
    let options = setup.replica_options(&configuration, 3);
    let habits = habits.iter().map(|habit| (habit.clone(), 1000)).collect();
    let gang = Gang::new(configuration);
    let machine = Vice::Liar(habits).machine(options, gang, Rng::new(7));
    Cluster::with(setup, vec![(3, machine)])
}

/// A liar that votes for everything, has done everything, and sees nothing.
pub(crate) fn beside_an_accomplice() -> Cluster {
    beside(
        &[Habit::Agree, Habit::Boast, Habit::Empty],
        Policy::default(),
    )
}

/// s3 signs a promise of epoch 0 that rests on this Take; it may claim to have voted for it.
pub(crate) fn promise_of_s3(
    c: &Cluster,
    entry: &Entry,
    ballot: u32,
    request: &TakeRequest,
    voted: bool,
) -> SignedBytes {
    let op = forge::op_of(&c.world.configuration, &request.take);
    c.forge(3).promise(&PromisePayload {
        id: entry.id.clone(),
        epoch: Epoch(0),
        ballot: Ballot(ballot),
        first: voted.then_some(op),
        lock: None,
        takes: vec![op],
    })
}

/// s3 sends this promise to the others, with its Take.
pub(crate) fn promise_to_all(c: &mut Cluster, promise: &SignedBytes, request: &TakeRequest) {
    for to in 0..3 {
        let message = PeerMessage::Promise {
            promise: promise.clone(),
            takes: vec![request.take.clone()],
            released: None,
        };
        say(c, 3, to, message);
    }
}

/// A replica says something to another.
pub(crate) fn say(c: &mut Cluster, from: u16, to: u16, message: PeerMessage) {
    c.world.send(Flight {
        from: replica(from),
        to: replica(to),
        message: Message::Peer(message),
    });
}

/// What was sent and this picks.
pub(crate) fn overhear<T: Send + 'static>(
    c: &mut Cluster,
    pick: impl Fn(&Flight) -> Option<T> + Send + 'static,
) -> Arc<Mutex<Vec<T>>> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ears = Arc::clone(&heard);
    c.world.lose(move |flight| {
        ears.lock().expect("one thread").extend(pick(flight));
        false
    });
    heard
}

/// True for what replicas say to these.
pub(crate) fn between_replicas_to(flight: &Flight, to: &[u16]) -> bool {
    matches!(flight.from, Node::Replica(_)) && to.iter().any(|to| flight.to == replica(*to))
}
