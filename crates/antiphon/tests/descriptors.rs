//! A process that may open no more files keeps serving who is there, and whoever comes is told at once.
#![cfg(unix)]

mod support;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use antiphon::Server;
use support::{echo, handshake, status};

/// The server: this program again, with few files.
#[tokio::test]
#[ignore = "run by the test below, in a process of its own"]
async fn child() {
    let running = support::start(
        Server::new()
            .route("/ws", echo)
            .max_connections_per_address(1000),
    )
    .await;
    // Files that the cap of connections, made when the server started, knows nothing of.
    let _others: Vec<_> = (0..120)
        .map(|_| std::fs::File::open("/dev/null").expect("a file"))
        .collect();
    println!("\nlistening on {}", running.local_addrs()[0]);
    running.wait().await.expect("the end");
}

struct Kill(Child);

impl Drop for Kill {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the system accepts");
    // Nothing here waits for a deadline of the server; this one is for a server that is broken.
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("set");
    stream
}

fn open(address: SocketAddr) -> TcpStream {
    let mut stream = connect(address);
    stream
        .write_all(handshake("/ws", "").as_bytes())
        .expect("written");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        head.push(byte[0]);
    }
    assert_eq!(status(&String::from_utf8_lossy(&head)), 101);
    stream
}

fn expect_echo(stream: &mut TcpStream) {
    stream.write_all(b"\x81\x82\0\0\0\0Hi").expect("written");
    let mut frame = [0; 4];
    stream.read_exact(&mut frame).expect("the echo");
    assert_eq!(&frame, b"\x81\x02Hi");
}

#[test]
fn out_of_files_nobody_hangs_and_it_recovers() {
    let program = std::env::current_exe().expect("this program");
    let mut child = Command::new("sh")
        .args([
            "-c",
            "ulimit -n 200; exec \"$0\" --exact child --ignored --nocapture",
        ])
        .arg(program)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map(Kill)
        .expect("a shell");
    let output = BufReader::new(child.0.stdout.take().expect("its output"));
    let address: SocketAddr = output
        .lines()
        .find_map(|line| {
            line.expect("a line")
                .strip_prefix("listening on ")
                .map(ToOwned::to_owned)
        })
        .expect("the address")
        .parse()
        .expect("an address");
    let mut first = open(address);
    let others: Vec<_> = (0..300).map(|_| connect(address)).collect();
    expect_echo(&mut first);
    // Closed, by end or reset; a connection that is left waiting would run into our own timeout.
    let mut refused = connect(address);
    match refused.read(&mut [0]) {
        Ok(read) => assert_eq!(read, 0),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    expect_echo(&mut first);
    drop((others, refused));
    // The server learns of the ends one by one: soon there is room again.
    let recovered = (0..1000).any(|_| {
        let mut stream = connect(address);
        stream.write_all(handshake("/ws", "").as_bytes()).is_ok() && {
            let mut byte = [0; 12];
            stream.read_exact(&mut byte).is_ok() && byte.ends_with(b"101")
        }
    });
    assert!(recovered, "room again");
    expect_echo(&mut first);
}
