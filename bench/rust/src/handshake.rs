//! The opening handshake of the raw echoes: without it no generator would begin.

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The answer to a request, once it is whole.
pub fn answer(request: &[u8]) -> Option<Vec<u8>> {
    let request = std::str::from_utf8(request)
        .ok()?
        .strip_suffix("\r\n\r\n")?;
    let key = request.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key")
            .then(|| value.trim())
    })?;
    let accept = derive_accept_key(key.as_bytes());
    let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
    Some(format!("{head}Sec-WebSocket-Accept: {accept}\r\n\r\n").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_request_is_answered_with_its_key() {
        let request =
            "GET / HTTP/1.1\r\nHost: a\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let answer_to = |length: usize| answer(&request.as_bytes()[..length]);
        let whole = String::from_utf8(answer_to(request.len()).unwrap()).unwrap();
        assert!(
            whole.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
            "{whole}"
        );
        assert_eq!(answer_to(request.len() - 1), None);
        assert_eq!(answer(b"GET / HTTP/1.1\r\n\r\n"), None);
    }
}
