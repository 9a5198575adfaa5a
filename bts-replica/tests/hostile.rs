//! What a welcome guest may do wrong costs the guest its connection, and the others nothing.

mod common;

use std::time::Duration;

use bts_certs::SendError;
use bts_core::codec;
use bts_core::ids::{PublicKey, RequestId, Session};
use bts_core::limits::CLIENT_FRAME_BYTES_MAX;
use bts_core::message::{ClientBody, PeerMessage, ReplyBody};
use common::{FORGED, Rig, ask, end_of, ping, ping_with, request};

#[tokio::test]
async fn hostile_frames_end_their_connection_and_no_other() {
    let rig = Rig::new(1, 0);
    let running = rig.start(0);
    let mut good = rig.client("w2", 0, 1).await;
    let mut trailing = request(1, ping());
    trailing.push(0);
    let too_long = vec![0; CLIENT_FRAME_BYTES_MAX + 1];
    for (session, frame, why) in [
        (2, vec![0xff; 100], "no message"),
        (3, trailing, "after the end of the message"),
        (4, vec![0; CLIENT_FRAME_BYTES_MAX], "no message"),
        (5, too_long, "over the limit of 2097152"),
    ] {
        let link = rig.client("w1", 0, session).await;
        link.writer.try_send(frame).expect("it can be sent");
        let end = end_of(&link).await;
        assert!(end.contains(why), "expected {why:?}: {end}");
        running.seen.wait(&format!("-client {session}")).await;
        assert_eq!(ask(&mut good, session, ping()).await.body, ReplyBody::Ack);
    }
    let ReplyBody::Report(report) = ask(&mut good, 9, ClientBody::Inspect).await.body else {
        panic!("no report");
    };
    let broke = report
        .counters
        .iter()
        .find(|(name, _)| name == "broke the protocol");
    assert_eq!(broke.map(|(_, times)| *times), Some(4));
}

#[tokio::test]
async fn hostile_first_frames_are_refused() {
    let rig = Rig::new(1, 0);
    let _running = rig.start(0);
    for (frame, why) in [
        (vec![7; 100], "no Hello"),
        (vec![0; 1025], "over the limit of 1024"),
        (request(1, ping()), "no Hello"),
    ] {
        let link = rig.dial(&rig.member("w1"), 0).await.expect("a link").link;
        link.writer.try_send(frame).expect("it can be sent");
        let end = end_of(&link).await;
        assert!(end.contains(why), "expected {why:?}: {end}");
    }
    let silent = rig.dial(&rig.member("w1"), 0).await.expect("a link").link;
    assert!(end_of(&silent).await.contains("no Hello in time"));
}

#[tokio::test]
async fn hostile_crowd_before_hello_leaves_room_for_others() {
    let rig = Rig::new(1, 0);
    let _running = rig.start(0);
    let local = rig.member("w1");
    let mut silent = Vec::new();
    let refused = loop {
        let link = rig.dial(&local, 0).await.expect("a link").link;
        let ended = tokio::time::timeout(Duration::from_millis(20), link.closer.closed()).await;
        match ended {
            Ok(end) => break end.to_string(),
            Err(_) => silent.push(link),
        }
    };
    assert!(refused.contains("say no Hello"), "{refused}");
    assert!(silent.len() <= 32, "{} were let in", silent.len());
    let _other = rig.client("w2", 0, 1).await;
}

#[tokio::test]
async fn hostile_client_that_does_not_read_is_dropped_alone() {
    let rig = Rig::new(1, 0);
    let running = rig.start(0);
    let mut good = rig.client("w2", 0, 1).await;
    let deaf = rig.client("w1", 0, 2).await;
    let waiter = RequestId(64);
    let frame = request(1, ClientBody::Cancel { waiter });
    deaf.writer.try_send(frame).expect("it can be sent");
    assert!(end_of(&deaf).await.contains("wait for you to read them"));
    running.seen.wait("-client 2").await;
    assert_eq!(running.seen.count("-client 2"), 1);
    assert_eq!(ask(&mut good, 1, ping()).await.body, ReplyBody::Ack);
}

#[tokio::test]
async fn hostile_crowd_that_does_not_read_is_dropped_from_the_slowest_on() {
    let rig = Rig::new(1, 0);
    let mut settings = rig.settings(0);
    settings.connections.queue_bytes = 64 << 20;
    settings.connections.queues_bytes = 24 << 20;
    let running = common::Running::start(settings);
    let mut good = rig.client("w2", 0, 1).await;
    let mut deaf = Vec::new();
    for (session, reports) in [(2, 8), (3, 16), (4, 12)] {
        let link = rig.client("w1", 0, session).await;
        let waiter = RequestId(reports);
        let frame = request(1, ClientBody::Cancel { waiter });
        link.writer.try_send(frame).expect("it can be sent");
        running.seen.wait(&format!("{} r1", Session(session))).await;
        deaf.push(link);
    }
    // It is looked at now and then, when something happens.
    let pinging = async {
        for number in 0.. {
            ask(&mut good, number, ping()).await;
        }
    };
    tokio::select! {
        () = pinging => {}
        () = running.seen.wait("-client 3") => {}
    }
    assert!(end_of(&deaf[1]).await.contains("wait for you to read them"));
    assert_eq!(running.seen.count("-client 2"), 0);
    assert_eq!(running.seen.count("-client 4"), 0);
}

#[tokio::test]
async fn hostile_flood_does_not_starve_others() {
    let rig = Rig::new(1, 0);
    let _running = rig.start(0);
    let flood = rig.client("w1", 0, 1).await;
    let writer = flood.writer.clone();
    let flooding = tokio::spawn(async move {
        loop {
            match writer.send(request(1, ping())).await {
                Ok(()) => {}
                Err(SendError::Ended) => return,
                Err(error) => panic!("{error}"),
            }
        }
    });
    let mut good = rig.client("w2", 0, 1).await;
    for number in 0..100 {
        assert_eq!(ask(&mut good, number, ping()).await.request.0, number);
    }
    flooding.abort();
}

#[tokio::test]
async fn hostile_partial_frame_keeps_nobody_waiting() {
    let rig = Rig::new(1, 0);
    let running = rig.start(0);
    let hello = rig.client_hello(1);
    let (connection, mut send) = common::raw_hello(&rig, "w1", 0, &hello, &[]).await;
    running.seen.wait("+client 1").await;
    // Announced are 1000 bytes, of which ten come.
    send.write_all(&[&1000_u32.to_le_bytes()[..], &[1; 10]].concat())
        .await
        .expect("written");
    let mut good = rig.client("w2", 0, 2).await;
    assert_eq!(ask(&mut good, 1, ping()).await.body, ReplyBody::Ack);
    // The stream ends within the frame.
    send.finish().expect("finished");
    let end = connection.closed().await.to_string();
    assert!(end.contains("ended within a frame"), "{end}");
    running.seen.wait("-client 1").await;
}

/// Whoever sends half a frame right behind its Hello may well be honest: packets end where they end.
#[tokio::test]
async fn hostile_is_not_who_sends_half_a_frame_with_its_hello() {
    let rig = Rig::new(1, 0);
    let running = rig.start(0);
    let ping = request(1, ping());
    let length = u32::try_from(ping.len()).expect("a ping is short");
    let frame = [&length.to_le_bytes(), ping.as_slice()].concat();
    let (half, rest) = frame.split_at(frame.len() / 2);
    let hello = rig.client_hello(1);
    let (connection, mut send) = common::raw_hello(&rig, "w1", 0, &hello, half).await;
    running.seen.wait("+client 1").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    send.write_all(rest).await.expect("it is still welcome");
    running.seen.wait(&format!("{} r1", Session(1))).await;
    assert_eq!(connection.close_reason(), None);
}

#[tokio::test]
async fn hostile_sessions_of_one_key_are_bounded() {
    let rig = Rig::new(1, 0);
    let mut settings = rig.settings(0);
    settings.connections.sessions_per_client = 2;
    let _running = common::Running::start(settings);
    let _two = (rig.client("w1", 0, 1).await, rig.client("w1", 0, 2).await);
    let (_link, reply) = rig.greet("w1", 0, &rig.client_hello(3)).await;
    let reply = format!("{reply:?}");
    assert!(reply.contains("2 sessions of your key"), "{reply}");
    let _other = rig.client("w2", 0, 3).await;
}

#[tokio::test]
async fn hostile_forgeries_are_counted_against_who_relayed_them() {
    let rig = Rig::new(1, 0);
    let _running = rig.start(0);
    let mut forger = rig.client("w1", 0, 1).await;
    for number in 0..30 {
        ask(&mut forger, number, ping_with(FORGED)).await;
    }
    let mut good = rig.client("w2", 0, 1).await;
    let ReplyBody::Report(report) = ask(&mut good, 1, ClientBody::Inspect).await.body else {
        panic!("no report");
    };
    let key = PublicKey(rig.member("w1").identity().key);
    let name = format!("relayed a forgery ({key})");
    assert!(report.counters.contains(&(name, 30)), "{report:?}");
}

#[tokio::test]
async fn hostile_peer_loses_its_connection_and_keeps_its_place() {
    let rig = Rig::new(4, 1);
    let running = rig.start(0);
    let _others = [rig.start(2), rig.start(3)];
    running.seen.wait("+peer s2 100").await;
    let hello = rig.replica_hello(1, 1);
    let (garbage, _) = rig.greet("replica-1", 0, &hello).await;
    garbage.writer.try_send(vec![0xff; 9]).expect("it is sent");
    assert!(end_of(&garbage).await.contains("no message"));
    let (old, _) = rig.greet("replica-1", 0, &hello).await;
    let (new, _) = rig.greet("replica-1", 0, &hello).await;
    assert!(end_of(&old).await.contains("newer connection"));
    let message = codec::encode(&PeerMessage::Applied {
        after: 0,
        items: Vec::new(),
    });
    new.writer.try_send(message).expect("it is sent");
    running.seen.wait("peer s1").await;
}
