//! What a link does with frames, with peers that break its rules, and at its end.

mod common;

use std::net::SocketAddr;

use bts_certs::{FrameError, FrameWriter, Link, LinkError, Listener, SendError};
use common::{
    LIMITS, authority, client, dial, eventually, link_pair, listen, raw_member, replica, within,
};
use quinn::{RecvStream, SendStream};

#[tokio::test]
async fn link_frames_arrive_in_order_in_both_directions() {
    let (mut dialed, mut accepted, _listener) = link_pair().await;
    for i in 0..50u8 {
        dialed
            .link
            .writer
            .try_send(vec![i; 7])
            .expect("it is queued");
        accepted
            .link
            .writer
            .try_send(vec![i; usize::from(i) + 1])
            .expect("it is queued");
    }
    for i in 0..50u8 {
        assert_eq!(next(&mut accepted.link).await, Some(vec![i; 7]));
        assert_eq!(
            next(&mut dialed.link).await,
            Some(vec![i; usize::from(i) + 1])
        );
    }
}

#[tokio::test]
async fn link_traffic_is_counted_in_both_directions() {
    let (mut dialed, accepted, _listener) = link_pair().await;
    let (here, there) = (dialed.link.closer.traffic(), accepted.link.closer.traffic());
    let sent = accepted.link.writer.try_send(vec![7; 900]);
    sent.expect("it is queued");
    assert_eq!(next(&mut dialed.link).await, Some(vec![7; 900]));
    let received = dialed.link.closer.traffic();
    assert!(received.received_bytes > here.received_bytes + 900);
    assert!(received.received_datagrams > here.received_datagrams);
    let sent = accepted.link.closer.traffic();
    assert!(sent.sent_bytes > there.sent_bytes + 900);
    assert!(sent.sent_datagrams > there.sent_datagrams);
}

#[tokio::test]
async fn link_on_a_single_thread_carries_more_than_every_window() {
    let (dialed, mut accepted, _listener) = link_pair().await;
    let writer = dialed.link.writer.clone();
    let frames = 6000u32;
    let sending = async {
        for i in 0..frames {
            let mut frame = vec![0; LIMITS.frame_bytes_max];
            frame[..4].copy_from_slice(&i.to_le_bytes());
            writer.send(frame).await.expect("the link lives");
        }
    };
    let reading = async {
        for i in 0..frames {
            let frame = next(&mut accepted.link).await.expect("the stream goes on");
            assert_eq!(frame.len(), LIMITS.frame_bytes_max);
            assert_eq!(frame[..4], i.to_le_bytes());
        }
    };
    within(async { tokio::join!(sending, reading) })
        .await
        .expect("no side waits for ever");
}

#[tokio::test]
async fn link_slow_peer_fills_its_queue_and_never_blocks_or_grows() {
    let (dialed, mut accepted, _listener) = link_pair().await;
    let writer = &dialed.link.writer;
    let queued = fill(writer).await;
    // Nothing that was queued is lost, and the link lives on.
    for i in 0..queued {
        assert_eq!(next(&mut accepted.link).await, Some(numbered(i)));
    }
    eventually("the queue has room again", || writer.queued_bytes() == 0).await;
    writer.try_send(b"again").expect("there is room");
    assert_eq!(next(&mut accepted.link).await, Some(b"again".to_vec()));
}

#[tokio::test]
async fn link_queue_of_small_frames_is_bounded_with_their_lengths() {
    let (dialed, _accepted, _listener) = link_pair().await;
    // Without an await nothing is taken from the queue.
    let writer = &dialed.link.writer;
    let queued = (0..10_000)
        .take_while(|_| writer.try_send([1]).is_ok())
        .count();
    assert_eq!(queued, LIMITS.queue_bytes_max / 5);
    assert_eq!(writer.try_send([1]), Err(SendError::Full));
    assert_eq!(writer.queued_bytes(), LIMITS.queue_bytes_max);
}

/// What does not fit leaves no trace in the buffer behind which it was written.
#[tokio::test]
async fn link_frame_that_was_not_queued_is_not_sent() {
    let (dialed, mut accepted, _listener) = link_pair().await;
    let writer = &dialed.link.writer;
    writer.try_send([1; 900]).expect("there is room");
    let long = LIMITS.frame_bytes_max + 1;
    assert_eq!(writer.try_send(vec![2; long]), Err(SendError::Length(long)));
    assert_eq!(writer.try_send([]), Err(SendError::Length(0)));
    for _ in 0..3 {
        writer.try_send([3; 900]).expect("there is room");
    }
    assert_eq!(writer.try_send([4; 900]), Err(SendError::Full));
    writer.try_send([5]).expect("a small one fits");
    for (first, length) in [(1, 900), (3, 900), (3, 900), (3, 900), (5, 1)] {
        assert_eq!(next(&mut accepted.link).await, Some(vec![first; length]));
    }
}

/// Who reads what has arrived sees all frames of a chunk, and no more of the last one than there is.
#[tokio::test]
async fn link_frames_that_came_together_are_read_without_waiting() {
    let (mut link, mut raw, _listener) = raw_pair().await;
    let together = [1, 0, 0, 0, b'a', 2, 0, 0, 0, b'b', b'c', 3, 0, 0, 0, b'd'];
    raw.send.write_all(&together).await.expect("it is written");
    let reader = &mut link.reader;
    assert_eq!(reader.arrived().expect("nothing is wrong"), None);
    assert!(within(reader.more()).await.expect("in time").expect("more"));
    assert_eq!(reader.arrived().expect("whole"), Some(&b"a"[..]));
    assert_eq!(reader.arrived().expect("whole"), Some(&b"bc"[..]));
    assert_eq!(reader.arrived().expect("not whole"), None);
    assert!(reader.is_within_frame());
    raw.send.write_all(b"ef").await.expect("it is written");
    assert!(within(reader.more()).await.expect("in time").expect("more"));
    assert_eq!(reader.arrived().expect("whole"), Some(&b"def"[..]));
    assert_eq!(reader.arrived().expect("nothing is wrong"), None);
}

#[tokio::test]
async fn link_frame_that_no_peer_would_take_is_not_queued() {
    let (dialed, _accepted, _listener) = link_pair().await;
    let writer = &dialed.link.writer;
    assert_eq!(writer.try_send(Vec::new()), Err(SendError::Length(0)));
    let long = LIMITS.frame_bytes_max + 1;
    assert_eq!(writer.try_send(vec![0; long]), Err(SendError::Length(long)));
    assert_eq!(writer.queued_bytes(), 0);
}

#[tokio::test]
async fn link_frame_bomb_is_refused_and_the_peer_told() {
    let (mut link, mut raw, _listener) = raw_pair().await;
    raw.send
        .write_all(&[0xff, 0xff, 0xff, 0xff, 0, 0])
        .await
        .expect("it is written");
    let limit = LIMITS.frame_bytes_max;
    match link.reader.next().await {
        Err(LinkError::Frame(error)) => {
            assert_eq!(
                error,
                FrameError::TooLong {
                    length: u32::MAX as usize,
                    limit
                }
            );
        }
        other => panic!("{other:?}"),
    }
    let told = raw.connection.closed().await.to_string();
    assert!(told.contains("over the limit of 1000"), "{told}");
    assert!(link.reader.next().await.is_err());
    let ended = || link.writer.try_send(vec![1]) == Err(SendError::Ended);
    eventually("the writer notices", ended).await;
}

#[tokio::test]
async fn link_empty_frame_is_refused() {
    let (mut link, mut raw, _listener) = raw_pair().await;
    raw.send.write_all(&[0; 4]).await.expect("it is written");
    let read = link.reader.next().await;
    assert!(
        matches!(read, Err(LinkError::Frame(FrameError::Empty))),
        "{read:?}"
    );
}

#[tokio::test]
async fn link_frame_in_single_bytes_arrives_whole() {
    let (mut link, mut raw, _listener) = raw_pair().await;
    for byte in [3, 0, 0, 0, b'a', b'b', b'c', 1, 0, 0, 0, b'd'] {
        raw.send.write_all(&[byte]).await.expect("it is written");
        tokio::task::yield_now().await;
    }
    assert_eq!(next(&mut link).await, Some(b"abc".to_vec()));
    assert_eq!(next(&mut link).await, Some(b"d".to_vec()));
}

#[tokio::test]
async fn link_reader_may_be_cancelled_within_a_frame() {
    let (mut link, mut raw, _listener) = raw_pair().await;
    for byte in [2, 0, 0, 0, b'x'] {
        raw.send.write_all(&[byte]).await.expect("it is written");
        let wait = std::time::Duration::from_millis(5);
        assert!(
            tokio::time::timeout(wait, link.reader.next())
                .await
                .is_err()
        );
    }
    raw.send.write_all(b"y").await.expect("it is written");
    assert_eq!(next(&mut link).await, Some(b"xy".to_vec()));
}

#[tokio::test]
async fn link_stream_cut_within_a_frame_is_an_error() {
    let (mut link, mut raw, _listener) = raw_pair().await;
    raw.send
        .write_all(&[9, 0, 0, 0, 1])
        .await
        .expect("it is written");
    raw.send.finish().expect("it is open");
    let read = link.reader.next().await;
    assert!(
        matches!(read, Err(LinkError::Frame(FrameError::Truncated))),
        "{read:?}"
    );
}

#[tokio::test]
async fn link_reset_stream_is_an_error_and_ends_the_link() {
    let (mut link, mut raw, _listener) = raw_pair().await;
    raw.send.reset(7u32.into()).expect("it is open");
    assert!(link.reader.next().await.is_err());
    assert!(link.closer.ended().is_some());
}

#[tokio::test]
async fn link_peer_that_stops_reading_loses_the_link() {
    let (link, mut raw, _listener) = raw_pair().await;
    raw.recv.stop(7u32.into()).expect("it is open");
    eventually("the writer notices", || {
        let _ = link.writer.try_send(vec![1]);
        link.closer.ended().is_some()
    })
    .await;
    let told = raw.connection.closed().await.to_string();
    assert!(told.contains("do not read"), "{told}");
}

#[tokio::test]
async fn link_peer_gets_no_second_stream_and_no_datagram() {
    let (_link, raw, _listener) = raw_pair().await;
    let wait = std::time::Duration::from_millis(100);
    assert!(
        tokio::time::timeout(wait, raw.connection.open_bi())
            .await
            .is_err()
    );
    assert!(
        tokio::time::timeout(wait, raw.connection.open_uni())
            .await
            .is_err()
    );
    assert_eq!(raw.connection.max_datagram_size(), None);
}

#[tokio::test]
async fn link_close_reason_reaches_the_peer_from_either_side() {
    let (dialed, mut accepted, _listener) = link_pair().await;
    dialed.link.closer.close("this client goes home");
    match accepted.link.reader.next().await {
        Err(LinkError::ClosedByPeer(reason)) => assert_eq!(reason, "this client goes home"),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        dialed.link.closer.closed().await.to_string(),
        "this side closed the link: this client goes home"
    );

    let (dialed, accepted, _listener) = link_pair().await;
    accepted
        .link
        .closer
        .close("your key is not in the configuration");
    let error = dialed.link.closer.closed().await.to_string();
    assert_eq!(
        error,
        "the peer closed the link: your key is not in the configuration"
    );
}

#[tokio::test]
async fn link_first_reason_stands() {
    let (dialed, accepted, _listener) = link_pair().await;
    dialed.link.closer.close("one");
    dialed.link.closer.close("two");
    assert!(
        dialed
            .link
            .closer
            .closed()
            .await
            .to_string()
            .ends_with(": one")
    );
    assert!(
        accepted
            .link
            .closer
            .closed()
            .await
            .to_string()
            .ends_with(": one")
    );
}

#[tokio::test]
async fn link_dropped_after_sending_still_delivers_and_ends_in_good_order() {
    let (dialed, mut accepted, _listener) = link_pair().await;
    for i in 0..30 {
        dialed
            .link
            .writer
            .try_send(numbered(i))
            .expect("it is queued");
    }
    drop(dialed);
    for i in 0..30 {
        assert_eq!(next(&mut accepted.link).await, Some(numbered(i)));
    }
    assert_eq!(next(&mut accepted.link).await, None);
}

#[tokio::test]
async fn link_left_by_all_is_not_kept_up_by_a_peer_that_reads_nothing() {
    let (link, raw, _listener) = raw_pair().await;
    let (_reader, writer, closer) = link.split();
    fill(&writer).await;
    drop(writer);
    let told = within(raw.connection.closed())
        .await
        .expect("the link is left")
        .to_string();
    assert!(told.contains("in time"), "{told}");
    assert!(closer.ended().is_some());
}

#[tokio::test]
async fn link_ended_by_the_peer_is_noticed_by_an_idle_sender() {
    let (dialed, accepted, _listener) = link_pair().await;
    accepted.link.closer.close("no more");
    dialed.link.closer.closed().await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(dialed.link.writer.try_send(vec![1]), Err(SendError::Ended));
    let sent = within(dialed.link.writer.send(vec![1]))
        .await
        .expect("it does not wait");
    assert_eq!(sent, Err(SendError::Ended));
}

#[tokio::test]
async fn link_shutdown_tells_the_peer_and_ends_accepting() {
    let (dialed, _accepted, mut listener) = link_pair().await;
    within(listener.shutdown("the replica is stopped"))
        .await
        .expect("it does not hang");
    let error = dialed.link.closer.closed().await.to_string();
    assert_eq!(error, "the peer closed the link: the replica is stopped");
    assert!(listener.accept().await.is_none());
}

/// A process that is killed says nothing, and its former peers would speak into the void until the
/// idle timeout; the process that follows it ends that.
#[tokio::test]
async fn link_to_a_killed_process_ends_when_the_process_is_back() {
    for _ in 0..10 {
        match end_of_link_to_killed().await {
            Some(LinkError::Reset) => return,
            // A runtime is not killed as a process is: it may find the time for a goodbye.
            Some(LinkError::Closed(_) | LinkError::ClosedByPeer(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    panic!("it says goodbye each time");
}

async fn end_of_link_to_killed() -> Option<LinkError> {
    let authority = authority();
    let (client, replica) = (client(&authority), replica(&authority));
    let process = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let (listener, address) = {
        let _within = process.enter();
        listen(&replica)
    };
    let dialed = dial(&client, address).await.expect("the link is made");
    // Without its runtime nothing of it speaks or listens any more.
    process.shutdown_background();
    drop(listener);
    let mut back = None;
    eventually("the address is free again", || {
        back = Listener::bind(address, &replica, LIMITS).ok();
        back.is_some()
    })
    .await;
    // If it is over already, what ended it is told below.
    let _ = dialed.link.writer.try_send(vec![1]);
    within(dialed.link.closer.closed()).await
}

/// A peer that is a member, made a link, and now writes what it likes.
struct Raw {
    connection: quinn::Connection,
    send: SendStream,
    recv: RecvStream,
}

async fn raw_pair() -> (Link, Raw, Listener) {
    let authority = authority();
    let (mut listener, address) = listen(&replica(&authority));
    let client = client(&authority);
    let (raw, accepted) = tokio::join!(greeted(&client, address), listener.accept());
    (accepted.expect("the link is accepted").link, raw, listener)
}

async fn greeted(local: &bts_certs::LocalIdentity, address: SocketAddr) -> Raw {
    let connection = raw_member(local, address).await;
    let (mut send, mut recv) = connection.open_bi().await.expect("one stream is allowed");
    send.write_all(b"BTS\x01").await.expect("it is written");
    let mut greeting = [0; 4];
    recv.read_exact(&mut greeting)
        .await
        .expect("the greeting is answered");
    assert_eq!(&greeting, b"BTS\x01");
    Raw {
        connection,
        send,
        recv,
    }
}

/// Sends to a peer that reads nothing until its window, ours and the queue are full. Returns how
/// many frames were queued.
async fn fill(writer: &FrameWriter) -> u32 {
    let (mut queued, mut refusals_in_a_row) = (0, 0);
    while refusals_in_a_row < 50 {
        match writer.try_send(numbered(queued)) {
            Ok(()) => (queued, refusals_in_a_row) = (queued + 1, 0),
            Err(SendError::Full) => {
                refusals_in_a_row += 1;
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
            Err(other) => panic!("{other}"),
        }
        assert!(writer.queued_bytes() <= LIMITS.queue_bytes_max);
    }
    queued
}

async fn next(link: &mut Link) -> Option<Vec<u8>> {
    within(link.reader.next())
        .await
        .expect("a frame in time")
        .expect("the link lives")
}

fn numbered(i: u32) -> Vec<u8> {
    [&i.to_le_bytes()[..], &[0; 96]].concat()
}
