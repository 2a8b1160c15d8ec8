//! The one table of error codes, close codes and reserved events. The documentation and the TypeScript are made of it.

pub mod tables;

use std::{borrow::Cow, fmt};

/// The subprotocols, the preferred one first: v2 and v1.
pub const SUBPROTOCOLS: [&str; 2] = ["antiphon.v2.json", "hotgo.v1"];

/// Makes the type, and the list that the documentation is made of, from the same rows.
macro_rules! error_codes {
    ($($variant:ident $number:literal $name:literal $message:literal $temporary:literal $doc:literal;)*) => {
        /// Why a request failed: the `code` of a reply. Numbers from 1000 are the application's.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $(#[doc = $doc] $variant,)*
        }

        impl ErrorCode {
            /// Every code, in the order of the numbers.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The number on the wire (v2; v1 says -1 for all).
            #[must_use]
            pub const fn number(self) -> i32 {
                match self { $(Self::$variant => $number,)* }
            }

            /// The name for programs and metrics, in lower case with underscores.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The text for people.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self { $(Self::$variant => $message,)* }
            }

            /// Whether the same request may succeed a little later.
            #[must_use]
            pub const fn is_temporary(self) -> bool {
                match self { $(Self::$variant => $temporary,)* }
            }

            /// A sentence that says when it is answered.
            #[must_use]
            pub const fn doc(self) -> &'static str {
                match self { $(Self::$variant => $doc,)* }
            }

            /// The code of a number.
            #[must_use]
            pub const fn from_number(number: i32) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

error_codes! {
    Internal 100 "internal" "internal server error" true
        "The server, a handler or a backend failed.";
    Unauthorized 101 "unauthorized" "unauthorized" false
        "The client has to authenticate first.";
    UnknownChannel 102 "unknown_channel" "unknown channel" false
        "There is no such channel, or it has no such feature.";
    PermissionDenied 103 "permission_denied" "permission denied" false
        "The client may not do this.";
    MethodNotFound 104 "method_not_found" "method not found" false
        "Nobody handles this event.";
    AlreadySubscribed 105 "already_subscribed" "already subscribed" false
        "The connection is in the channel already.";
    LimitExceeded 106 "limit_exceeded" "limit exceeded" false
        "A limit of the server would be exceeded, such as the channels of one connection.";
    BadRequest 107 "bad_request" "bad request" false
        "The request cannot be read, or lacks something.";
    NotAvailable 108 "not_available" "not available" false
        "The server or the channel does not offer this.";
    TokenExpired 109 "token_expired" "token expired" false
        "The token is over; get a new one.";
    Expired 110 "expired" "expired" false
        "The permission behind the request is over.";
    TooManyRequests 111 "too_many_requests" "too many requests" true
        "The client sends too much; `retryAfterMs` says when it may go on.";
    UnrecoverablePosition 112 "unrecoverable_position" "unrecoverable position" false
        "What came after this offset is not kept any more; fetch the state anew.";
    Timeout 113 "timeout" "timeout" true
        "A handler or a backend did not answer in time.";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number(), self.message())
    }
}

/// Why the server closes a connection: the code and the reason of its Close frame.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CloseReason {
    /// The number in the Close frame.
    pub code: u16,
    /// The text in the Close frame, at most 123 bytes.
    pub reason: Cow<'static, str>,
    /// Whether the client should connect again.
    pub reconnect: bool,
}

impl CloseReason {
    /// A code with a reason of the application's own; a longer one is cut at 123 bytes.
    pub fn new(code: u16, reason: impl Into<Cow<'static, str>>) -> Self {
        let mut reason = reason.into();
        if reason.len() > 123 {
            let end = (0..=123).rev().find(|end| reason.is_char_boundary(*end));
            reason.to_mut().truncate(end.unwrap_or(0));
        }
        Self {
            code,
            reason,
            reconnect: reconnects(code),
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.reason)
    }
}

/// A close code in the table.
#[derive(Clone, Debug)]
pub(crate) struct CloseRow {
    /// The name, in upper case.
    pub(crate) name: &'static str,
    /// Code and reason.
    pub(crate) close: CloseReason,
    /// A sentence that says when it is sent.
    pub(crate) doc: &'static str,
}

/// Whether a client should connect again after this code, for any code: ours, the application's and RFC 6455's.
///
/// 3000 to 3499 and 4000 to 4499 do, 3500 to 3999 and 4500 to 4999 do not. Of the codes of RFC 6455 those do that speak
/// of a condition which passes: 1001, 1006, 1011, 1012 and 1013.
#[must_use]
pub const fn reconnects(code: u16) -> bool {
    matches!(
        code,
        1001 | 1006 | 1011 | 1012 | 1013 | 3000..=3499 | 4000..=4499
    )
}

macro_rules! close_codes {
    ($($name:ident $code:literal $reason:literal $doc:literal;)*) => {
        /// The codes with which the server closes.
        pub mod close {
            use std::borrow::Cow;

            use crate::code::{CloseReason, CloseRow, reconnects};

            $(
                #[doc = $doc]
                pub const $name: CloseReason = CloseReason {
                    code: $code,
                    reason: Cow::Borrowed($reason),
                    reconnect: reconnects($code),
                };
            )*

            /// Every code, in the order of the numbers.
            pub const ALL: &[CloseReason] = &[$($name,)*];

            /// The rows of the table.
            pub(crate) const ROWS: &[CloseRow] =
                &[$(CloseRow { name: stringify!($name), close: $name, doc: $doc },)*];
        }
    };
}

close_codes! {
    GOING_AWAY 1001 "going away"
        "The server stops.";
    RESTART 1012 "restart"
        "The server stops and another one takes over; wait a little, then connect again.";
    TRY_AGAIN_LATER 1013 "try again later"
        "The server has as many connections as it may have; wait a little, then connect again.";
    CONNECTION_CLOSED 3000 "connection closed"
        "The server closes without a particular reason.";
    SHUTDOWN 3001 "shutdown"
        "The server shuts down.";
    SERVER_ERROR 3003 "internal server error"
        "The server or a backend failed while it dealt with the connection.";
    EXPIRED 3004 "token expired"
        "The token is over; connect with a new one.";
    SLOW 3008 "slow"
        "The client did not read what was sent, and its outbox is full.";
    INSUFFICIENT_STATE 3010 "insufficient state"
        "The server lost its place in a channel; subscribe anew.";
    FORCE_RECONNECT 3011 "force reconnect"
        "The server asks the client to connect again.";
    NO_PONG 3012 "no pong"
        "The client did not answer a ping in time.";
    TOO_MANY_REQUESTS 3013 "too many requests"
        "The client sent too much; connect again later.";
    INVALID_TOKEN 3500 "invalid token"
        "The token is none of ours, or was changed.";
    BAD_REQUEST 3501 "bad request"
        "The client sent what cannot be read.";
    STALE 3502 "stale"
        "The client did not authenticate in time.";
    FORCE_NO_RECONNECT 3503 "force no reconnect"
        "The client was kicked and should stay away.";
    CONNECTION_LIMIT 3504 "connection limit"
        "The user, the address or the server has as many connections as allowed.";
    CHANNEL_LIMIT 3505 "channel limit"
        "The connection is in as many channels as allowed.";
    PERMISSION_DENIED 3507 "permission denied"
        "The client may not connect.";
    NOT_AVAILABLE 3508 "not available"
        "The server does not offer what the client needs.";
    TOO_MANY_ERRORS 3509 "too many errors"
        "The client sent too many wrong requests.";
    REVOKED 3510 "revoked"
        "The token, the session or the user was revoked.";
    LOGGED_IN_ELSEWHERE 3511 "logged in elsewhere"
        "The same user has connected elsewhere, and the policy allows one connection.";
}

/// Who sends a reserved event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The client; the server answers.
    ToServer,
    /// The server.
    ToClient,
}

/// An event that the server itself handles or sends.
#[derive(Clone, Copy, Debug)]
pub struct Reserved {
    /// The name on the wire.
    pub name: &'static str,
    /// Who sends it.
    pub direction: Direction,
    /// The wires that have it: `v1`, `v2` or `v1, v2`.
    pub wires: &'static str,
    /// The shape of its data, in the notation of TypeScript.
    pub data: &'static str,
    /// The shape of the data in the reply; empty where there is no reply.
    pub reply: &'static str,
    /// What it is for.
    pub doc: &'static str,
}

macro_rules! reserved_events {
    ($($name:ident $text:literal $direction:ident $wires:literal $data:literal $reply:literal $doc:literal;)*) => {
        /// The reserved events.
        pub mod event {
            use crate::code::{Direction, Reserved};

            $(#[doc = $doc] pub const $name: &str = $text;)*

            /// Every reserved event: first what clients send, then what the server sends.
            pub const ALL: &[Reserved] = &[
                $(Reserved {
                    name: $text,
                    direction: Direction::$direction,
                    wires: $wires,
                    data: $data,
                    reply: $reply,
                    doc: $doc,
                },)*
            ];

            /// The names of the constants.
            pub(crate) const NAMES: &[&str] = &[$(stringify!($name),)*];
        }
    };
}

reserved_events! {
    CONNECT "$connect" ToServer "v2"
        "{ token?: string; name?: string; version?: string; tags?: string[]; caps?: string[] }"
        "Session"
        "Authenticates with a first message; answered with the session.";
    SUBSCRIBE "$subscribe" ToServer "v2" "{ ch: string }" "Position"
        "Joins a tag; events of the tag carry its name in `ch` from then on.";
    UNSUBSCRIBE "$unsubscribe" ToServer "v2" "{ ch: string }" "none"
        "Leaves a tag.";
    PUBLISH "$publish" ToServer "v2" "{ ch: string; event?: string; data?: Json; key?: string }" "Delivery"
        "Sends an event to everybody in a tag.";
    PRESENCE "$presence" ToServer "v2" "{ ch: string }" "{ presence: Record<string, Member>; count: number }"
        "Asks who is in a tag.";
    HISTORY "$history" ToServer "v2" "{ ch: string }" ""
        "Reserved for the past of a channel; answered with 108 (not available).";
    REFRESH "$refresh" ToServer "v2" "{ token: string }" "{ ttl?: number }"
        "Brings a new token before the old one is over.";
    PING "$ping" ToServer "v2" "none" "none"
        "Asks for a reply, to measure the way there and back.";
    V1_PING "ping" ToServer "v1, v2" "none" "none"
        "The heartbeat of hotgo's client; an alias of `$ping` in v2.";
    V1_JOIN "join" ToServer "v1, v2" "{ id: string }" "string[]"
        "Joins the tag `id`; answered with all tags of the connection.";
    V1_QUIT "quit" ToServer "v1, v2" "{ id: string }" "string[]"
        "Leaves the tag `id`; answered with the tags that remain.";
    CONNECTED "$connected" ToClient "v2" "Session" ""
        "The first event of a connection that was authenticated by its handshake.";
    JOIN "$join" ToClient "v2"
        "{ ch: string; members: Member[]; count: number; more?: boolean }" ""
        "These have joined the tag, collected for a moment; `count` are in it now.";
    LEAVE "$leave" ToClient "v2"
        "{ ch: string; members: Member[]; count: number; more?: boolean }" ""
        "These have left the tag, collected for a moment; `count` are in it now.";
    GAP "$gap" ToClient "v2"
        "{ ch?: string; from?: number; to?: number; dropped: number; reason: string }" ""
        "Events were dropped because the client read too slowly; fetch the state anew.";
    DISCONNECT "$disconnect" ToClient "v2"
        "{ code: number; reason: string; reconnect: boolean; delayMs: number }" ""
        "The last event before a Close: its code, whether to connect again, and after how long.";
    V1_KICK "kick" ToClient "v1" "none" ""
        "The last event before a Close after which the client should stay away: log out.";
    V1_NOTICE "notice" ToClient "v1" "Json" ""
        "By convention what a backend has to tell a user; the server does not send it by itself.";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use antiphon::CloseCode;

    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_ascend() {
        for pair in ErrorCode::ALL.windows(2) {
            assert!(pair[0].number() < pair[1].number());
        }
        for pair in close::ALL.windows(2) {
            assert!(pair[0].code < pair[1].code);
        }
        let names: HashSet<_> = ErrorCode::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), ErrorCode::ALL.len());
        let names: HashSet<_> = event::ALL.iter().map(|event| event.name).collect();
        assert_eq!(names.len(), event::ALL.len());
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_number(code.number()), Some(*code));
        }
        assert_eq!(ErrorCode::from_number(1000), None);
    }

    #[test]
    fn close_codes_may_be_sent_and_tell_whether_to_reconnect() {
        for close in close::ALL {
            assert!(CloseCode::new(close.code).is_sendable(), "{close}");
            assert!(close.reason.len() <= 123, "{close}");
            assert_eq!(close.reconnect, reconnects(close.code), "{close}");
        }
        for (code, expected) in [
            (0, false),
            (1000, false),
            (1001, true),
            (1002, false),
            (1006, true),
            (1008, false),
            (1009, false),
            (1011, true),
            (1012, true),
            (1013, true),
            (2999, false),
            (3000, true),
            (3499, true),
            (3500, false),
            (3999, false),
            (4000, true),
            (4499, true),
            (4500, false),
            (4999, false),
            (5000, false),
        ] {
            assert_eq!(reconnects(code), expected, "{code}");
        }
        assert_eq!(close::SLOW.to_string(), "3008 slow");
    }
}
