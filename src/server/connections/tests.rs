//! Which connection is closed, and when one is idle.

use super::tracker::Tracker;
use super::*;

fn list(total: usize, per_client: usize) -> Arc<OpenConnections> {
    OpenConnections::new(ConnectionLimits {
        total,
        total_setting: "server.max_connections",
        per_client,
        request: Duration::from_secs(10),
        keep_alive: Duration::from_secs(620),
    })
}

/// A connection; the next one is younger.
fn open(list: &Arc<OpenConnections>) -> Tracker {
    let tracker = Tracker::new(list).expect("room");
    tick(list);
    tracker
}

fn tick(list: &OpenConnections) {
    let now = list.now();
    while list.now() <= now {
        std::hint::spin_loop();
    }
}

fn receive(connection: &Tracker, bytes: &[u8]) {
    connection.received(bytes.len());
    connection.read(bytes);
}

fn request(connection: &Tracker) {
    receive(connection, b"GET / HTTP/1.1\r\n\r\n");
    connection.request(Some(0));
}

#[test]
fn a_connection_that_is_being_answered_is_never_closed_for_another() {
    let list = list(2, 10);
    let connections = [open(&list), open(&list)];
    connections.iter().for_each(request);
    tick(&list);
    assert!(Tracker::new(&list).is_none(), "all are being answered");
    assert!(!connections.iter().any(Tracker::is_closed));
    connections[1].answered();
    tick(&list);
    let _third = open(&list);
    assert!(!connections[0].is_closed());
    assert!(connections[1].is_closed());
    assert_eq!(list.counts(), [0, 1, 1]);
}

#[test]
fn a_client_that_does_not_read_its_answer_can_be_closed() {
    let list = list(1, 10);
    let stalled = open(&list);
    request(&stalled);
    stalled.write_blocked();
    tick(&list);
    let _other = open(&list);
    assert!(stalled.is_closed());
}

#[test]
fn a_connection_is_idle_only_if_nothing_of_another_request_has_arrived() {
    use ConnectionState::{Idle, Reading};
    for (bytes, length, after) in [
        (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], Some(0), Idle),
        (b"GET / HTTP/1.1\nHost: a\n\n", Some(0), Idle),
        (b"GET / HTTP/1.1\r\n\r\nG", Some(0), Reading),
        (b"POST / HTTP/1.1\r\n\r\nab", Some(2), Idle),
        (b"POST / HTTP/1.1\r\n\r\nabP", Some(2), Reading),
        (b"POST / HTTP/1.1\r\n\r\na", Some(2), Reading),
        (b"POST / HTTP/1.1\r\n\r\n2\r\nab\r\n0\r\n\r\n", None, Idle),
        (
            b"POST / HTTP/1.1\r\n\r\n2\r\nab\r\n0\r\n\r\nPO",
            None,
            Reading,
        ),
    ] {
        // In one piece, and byte by byte.
        for size in [bytes.len(), 1] {
            let list = list(1, 1);
            let connection = open(&list);
            for part in bytes.chunks(size) {
                receive(&connection, part);
            }
            connection.request(length);
            connection.completed();
            connection.answered();
            let state =
                ConnectionState::ALL[list.counts().iter().position(|n| *n == 1).expect("one")];
            assert_eq!(state, after, "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}

#[test]
fn incomplete_requests_share_a_budget_of_memory_and_the_longest_one_is_closed_first() {
    let list = list(10_000, 10_000);
    let quiet = open(&list);
    let connections: Vec<_> = (0..1_000).map(|_| open(&list)).collect();
    for connection in &connections {
        receive(connection, &vec![b'a'; 60_000]);
        assert!(list.buffered.load(Ordering::Relaxed) <= MEMORY_FOR_INCOMPLETE);
    }
    assert!(!quiet.is_closed(), "it holds no memory");
    let closed = connections.iter().take_while(|one| one.is_closed()).count();
    assert!((700..1_000).contains(&closed), "{closed}");
    assert!(!connections[closed..].iter().any(Tracker::is_closed));
    drop(connections);
    assert_eq!(list.buffered.load(Ordering::Relaxed), 0);
    assert_eq!(list.counts(), [0, 1, 0]);

    // The second request of a connection, in a packet with the first.
    let second = open(&list);
    receive(
        &second,
        &[&b"GET / HTTP/1.1\r\n\r\n"[..], &vec![b'a'; 60_000]].concat(),
    );
    second.request(Some(0));
    second.answered();
    assert!(list.buffered.load(Ordering::Relaxed) >= 60_000);
}

#[test]
fn the_list_forgets_connections_that_end() {
    let list = list(10, 3);
    let client = IpAddr::from([192, 0, 2, 1]);
    let connections = [(); 4].map(|()| {
        let connection = open(&list);
        assert!(connection.assign(client));
        connection
    });
    assert!(connections[0].is_closed(), "a client has three");
    connections[1..].iter().for_each(request);
    let fifth = open(&list);
    assert!(!fifth.assign(client), "all of them are being answered");
    drop((connections, fifth));
    let open = list.lock();
    assert!(open.all.is_empty() && open.by_client.is_empty());
}
