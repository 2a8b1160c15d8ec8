//! Every metric with its meaning, and every limit with its key: the endpoint and the documentation are made from it.

use antiphon_hub::code::close;

use crate::metrics::snapshot::Snapshot;

/// How a number behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows, and begins anew with the process. Its samples end in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// One number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    Whole(u64),
    Real(f64),
}

/// Labels of a sample, as many as the metric has names for.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

/// Takes the samples of a metric, one by one.
pub(super) type Sink<'a> = &'a mut dyn FnMut(Labels<'_>, Value);

/// A metric.
pub(super) struct Metric {
    /// Its name; samples of a counter add `_total`.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// What it counts, as a sentence without its full stop.
    pub(super) help: &'static str,
    /// The names of its labels.
    #[cfg_attr(
        not(test),
        expect(
            dead_code,
            reason = "the documentation's tables are made of it, by a test"
        )
    )]
    pub(super) labels: &'static [&'static str],
    pub(super) read: fn(&Snapshot, Sink<'_>),
}

impl Metric {
    /// The name of its samples.
    #[cfg(test)]
    pub(super) fn sample(&self) -> String {
        match self.kind {
            Kind::Counter => format!("{}_total", self.name),
            Kind::Gauge => self.name.to_owned(),
        }
    }
}

const fn metric(
    kind: Kind,
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    read: fn(&Snapshot, Sink<'_>),
) -> Metric {
    Metric {
        name,
        kind,
        help,
        labels,
        read,
    }
}

/// `counter "name" "help" |snapshot| number;`, or `[labels]` and a closure that also takes the sink.
macro_rules! metrics {
    ($($kind:ident $name:literal $([$($label:literal),+])? $help:literal $read:expr;)*) => {
        &[$(metrics!(@one $kind $name [$($($label),+)?] $help $read)),*]
    };
    (@one $kind:ident $name:literal [] $help:literal $read:expr) => {
        metric(Kind::$kind, $name, &[], $help, |snapshot, sink| {
            let read: fn(&Snapshot) -> Option<Value> = $read;
            if let Some(value) = read(snapshot) {
                sink(&[], value);
            }
        })
    };
    (@one $kind:ident $name:literal [$($label:literal),+] $help:literal $read:expr) => {
        metric(Kind::$kind, $name, &[$($label),+], $help, $read)
    };
}

fn whole(count: impl TryInto<u64>) -> Option<Value> {
    Some(Value::Whole(count.try_into().unwrap_or(u64::MAX)))
}

fn flag(is: bool) -> Option<Value> {
    whole(u64::from(is))
}

/// Samples of one label with the same metric.
fn each<'a>(
    sink: Sink<'_>,
    label: &'static str,
    samples: impl IntoIterator<Item = (&'a str, u64)>,
) {
    for (value, count) in samples {
        sink(&[(label, value)], Value::Whole(count));
    }
}

/// Every metric but the information about the build.
pub(super) const METRICS: &[Metric] = metrics! {
    // How things are.
    Gauge "antiphon_up_seconds" "Seconds since the server began" |s| Some(Value::Real(s.uptime));
    Gauge "antiphon_ready" "Whether new connections are welcome: 1 from listening to the start of a drain"
        |s| flag(s.ready);
    Gauge "antiphon_draining" "Whether the server is closing its connections" |s| flag(s.draining);

    // The hub's connections.
    Gauge "antiphon_connections" "Connections of the hub now" |s| whole(s.hub.connections);
    Gauge "antiphon_users" "Users online now" |s| whole(s.hub.users);
    Gauge "antiphon_tags" "Tags with members now" |s| whole(s.hub.tags);
    Counter "antiphon_connections_accepted" "Connections that the hub let in" |s| whole(s.hub.accepted);
    Counter "antiphon_connections_refused" ["reason"] "Connections that the hub did not let in"
        |s, sink| each(sink, "reason", [
            ("connections", s.hub.refused_connections),
            ("login", s.hub.refused_logins),
        ]);
    Counter "antiphon_closes" ["by", "code", "reason"]
        "Ended connections, by who ended them and the close code; 1006 is a connection that broke"
        |s, sink| for row in &s.closes {
            let labels = [("by", row.by), ("code", row.code.as_str()), ("reason", row.reason)];
            sink(&labels, Value::Whole(row.count));
        };
    Counter "antiphon_violations" ["rule"] "Rules of the protocol that clients have broken, by RFC and section; or a bound"
        |s, sink| each(sink, "rule", s.violations.iter().map(|(rule, count)| (*rule, *count)));

    // Messages.
    Counter "antiphon_messages_received" "Messages that came from clients" |s| whole(s.hub.received);
    Counter "antiphon_received_bytes" "Bytes of them" |s| whole(s.hub.received_bytes);
    Counter "antiphon_messages_refused" ["reason"] "Messages of clients that were answered with an error"
        |s, sink| each(sink, "reason", [
            ("unreadable", s.hub.bad_messages),
            ("too_many", s.hub.refused_messages),
            ("unknown_event", s.hub.unknown_events),
            ("not_allowed", s.hub.denied),
        ]);
    Counter "antiphon_publishes" "Sends to connections, users, tags or all" |s| whole(s.hub.published);
    Counter "antiphon_publishes_refused" "Sends refused because the memory for messages was used up"
        |s| whole(s.hub.refused_sends);
    Counter "antiphon_messages_queued" "Messages put into the queue of a connection" |s| whole(s.hub.queued);
    Counter "antiphon_messages_written" "Messages written to connections" |s| whole(s.hub.written);
    Counter "antiphon_written_bytes" "Bytes of them, before framing" |s| whole(s.hub.written_bytes);
    Counter "antiphon_messages_dropped" ["reason"] "Messages that a connection did not get"
        |s, sink| each(sink, "reason", [
            ("full", s.hub.dropped),
            ("replaced", s.hub.conflated),
            ("slow", s.hub.slow),
            ("closed", s.hub.discarded),
        ]);
    Gauge "antiphon_waiting_connections" "Connections that something waits for now" |s| whole(s.waiting.0);
    Gauge "antiphon_waiting_messages" "Messages that wait for connections now" |s| whole(s.waiting.1);
    Gauge "antiphon_waiting_bytes" "Bytes of them" |s| whole(s.waiting.2);
    Gauge "antiphon_memory_used_bytes" "Bytes of all messages that exist now" |s| whole(s.hub.memory_used);
    Gauge "antiphon_memory_limit_bytes" "The bound of them, limits.memory_budget" |s| whole(s.hub.memory_limit);

    // Handlers.
    Gauge "antiphon_handlers_running" "Event handlers that run now" |s| whole(s.hub.handlers_running);
    Counter "antiphon_handler_panics" "Event handlers that panicked" |s| whole(s.hub.handler_panics);

    // Accepting.
    Gauge "antiphon_tcp_connections" "TCP connections that are open, whatever they carry"
        |s| whole(s.accept?.open_connections);
    Gauge "antiphon_sockets" "WebSockets that are open" |s| whole(s.accept?.open_sockets);
    Counter "antiphon_tcp_connections_accepted" "TCP connections that were accepted, refused ones included"
        |s| whole(s.accept?.accepted);
    Counter "antiphon_handshakes" ["outcome"] "Opening handshakes of WebSockets"
        |s, sink| if let Some(accept) = &s.accept {
            each(sink, "outcome", [
                ("accepted", accept.upgraded),
                ("rejected", accept.rejected_upgrades),
                ("timeout", accept.handshake_timeouts),
                ("tls", accept.tls_failures),
            ]);
        };
    Counter "antiphon_accept_errors" "Errors of accepting itself" |s| whole(s.accept?.accept_errors);
    Counter "antiphon_socket_errors" ["reason"] "Handlers of sockets that failed"
        |s, sink| if let Some(accept) = &s.accept {
            each(sink, "reason", [
                ("error", accept.handler_errors),
                ("panic", accept.handler_panics),
            ]);
        };

    // Logins.
    Gauge "antiphon_revocations" "Revocations that are remembered" |s| whole(s.auth?.revocations);
    Gauge "antiphon_sessions" "Sessions of auth.mode hotgo" |s| whole(s.auth?.sessions);
    Gauge "antiphon_tickets" "Tickets that wait to be used" |s| whole(s.auth?.tickets);

    // Backends.
    Counter "antiphon_hook_calls" ["hook"] "Questions to the backend"
        |s, sink| each(sink, "hook", s.hooks.iter().map(|(name, hook)| (*name, hook.calls)));
    Counter "antiphon_hook_refusals" ["hook"] "Questions that the backend answered with an error or a disconnect"
        |s, sink| each(sink, "hook", s.hooks.iter().map(|(name, hook)| (*name, hook.refused)));
    Counter "antiphon_hook_failures" ["hook"] "Questions without a usable answer"
        |s, sink| each(sink, "hook", s.hooks.iter().map(|(name, hook)| (*name, hook.failed)));
    Counter "antiphon_hook_retries" ["hook"] "Tries after the first"
        |s, sink| each(sink, "hook", s.hooks.iter().map(|(name, hook)| (*name, hook.retried)));
    Counter "antiphon_hook_breaker_openings" ["hook"] "How often the circuit breaker has opened"
        |s, sink| each(sink, "hook", s.hooks.iter().map(|(name, hook)| (*name, hook.opened)));
    Gauge "antiphon_hook_breaker_open" ["hook"] "Whether the circuit breaker is open: nobody is asked"
        |s, sink| each(sink, "hook", s.hooks.iter().map(|(name, hook)| (*name, u64::from(hook.is_open))));
    Counter "antiphon_webhook_events" ["outcome"] "Events for the backend: told, or lost"
        |s, sink| if let Some(webhooks) = &s.webhooks {
            each(sink, "outcome", [
                ("sent", webhooks.sent),
                ("lost_full", webhooks.dropped_overflow),
                ("lost_attempts", webhooks.dropped_attempts),
                ("lost_shutdown", webhooks.dropped_shutdown),
            ]);
        };
    Gauge "antiphon_webhook_queue" "Events that wait or are on their way" |s| whole(s.webhooks?.queued);
    Counter "antiphon_webhook_batches" "Batches that have arrived" |s| whole(s.webhooks?.batches);
    Counter "antiphon_webhook_retries" "Tries after a batch's first" |s| whole(s.webhooks?.retried);
    Counter "antiphon_outgoing_requests" "Requests to other servers: hooks, webhooks, key sets"
        |s| whole(s.outgoing?.requests);
    Counter "antiphon_api_requests" "Requests to the HTTP API" |s| whole(s.api?.requests);
    Counter "antiphon_api_errors" "Commands of the HTTP API that failed" |s| whole(s.api?.errors);
    Counter "antiphon_api_unauthorized" "Requests to the HTTP API without a key, or with a wrong one"
        |s| whole(s.api?.unauthorized);
    Counter "antiphon_api_forbidden" "Calls of the HTTP API beyond the scopes of a key" |s| whole(s.api?.forbidden);
    Counter "antiphon_api_repeated" "Publications that had been made already, by their idempotency key"
        |s| whole(s.api?.repeated);
    Counter "antiphon_trace_spans_sent" "Spans that the collector of traces has taken" |s| whole(s.traces?.sent);
    Counter "antiphon_trace_spans_failed" "Spans that it has not taken" |s| whole(s.traces?.failed);
    Gauge "antiphon_admin_sessions" "Sessions of the admin page" |s| whole(s.admin?.sessions);
    Counter "antiphon_admin_logins_failed" "Logins to the admin page with a wrong token" |s| whole(s.admin?.failed);
    Gauge "antiphon_traced_connections" "Connections whose frames are recorded for the admin page" |s| whole(s.admin?.traced);
    Gauge "antiphon_outgoing_waiting" "Requests that wait for their turn now" |s| whole(s.outgoing?.waiting);

    // Bounds.
    Counter "antiphon_limit_tripped" ["limit"] "How often a bound was reached; the table of limits has each"
        |s, sink| for limit in LIMITS {
            if let Some(count) = (limit.read)(s) {
                sink(&[("limit", limit.name)], Value::Whole(count));
            }
        };

    // The process, by the names that dashboards know.
    Gauge "process_resident_memory_bytes" "Memory of the process in RAM" |s| whole(s.usage.resident?);
    Gauge "process_virtual_memory_bytes" "Memory of the process that is mapped" |s| whole(s.usage.virtual_memory?);
    Gauge "process_threads" "Threads of the process" |s| whole(s.usage.threads?);
    Gauge "process_open_fds" "Open files of the process, sockets among them" |s| whole(s.usage.files?);
    Gauge "process_max_fds" "Most files that the process may open" |s| whole(s.usage.max_files?);
    Counter "process_cpu_seconds" "Seconds of the processor" |s| s.usage.processor.map(Value::Real);
    Gauge "process_start_time_seconds" "When the process began, in Unix seconds" |s| s.usage.started.map(Value::Real);
};

/// A bound that can be reached.
pub(super) struct Limit {
    /// Its name in the label.
    pub(super) name: &'static str,
    /// The keys that set it; empty where it is fixed.
    #[cfg_attr(
        not(test),
        expect(
            dead_code,
            reason = "the documentation's tables are made of it, by a test"
        )
    )]
    pub(super) keys: &'static [&'static str],
    /// What happens at the bound.
    #[cfg_attr(
        not(test),
        expect(
            dead_code,
            reason = "the documentation's tables are made of it, by a test"
        )
    )]
    pub(super) help: &'static str,
    /// How often it was reached. `None`: what has it is not there.
    pub(super) read: fn(&Snapshot) -> Option<u64>,
}

macro_rules! limits {
    ($($name:literal [$($key:literal),*] $help:literal $read:expr;)*) => {
        &[$(Limit { name: $name, keys: &[$($key),*], help: $help, read: $read }),*]
    };
}

/// Every bound with a counter.
pub(super) const LIMITS: &[Limit] = limits! {
    "connections" ["server.max_connections"] "a new connection is refused"
        |s| Some(s.hub.refused_connections + s.accept.map_or(0, |accept| accept.refused_connections));
    "connections_per_address" ["server.max_connections_per_address"] "a new connection is refused"
        |s| Some(s.accept?.refused_addresses);
    "handshakes" ["server.max_handshakes"] "a new connection is refused" |s| Some(s.accept?.refused_handshakes);
    "files" [] "the process can open no more files: a new connection is refused"
        |s| Some(s.accept?.refused_descriptors);
    "accept_rate" ["server.accept_rate"] "a new connection waits for its turn" |s| Some(s.accept?.delayed_accepts);
    "handshake_timeout" ["server.handshake_timeout"] "the connection is closed, or answered with 503"
        |s| Some(s.accept?.handshake_timeouts);
    "http_idle_timeout" [] "a silent HTTP connection is closed" |s| Some(s.accept?.idle_timeouts);
    "memory_budget" ["limits.memory_budget"] "connections with most that waits are closed with 3008; then sends are refused"
        |s| Some(s.hub.shed + s.hub.refused_sends);
    "outbox" ["outbox.max_bytes", "outbox.max_messages"] "as outbox.overflow says: closed with 3008, or the message dropped"
        |s| Some(s.hub.dropped + s.hub.slow);
    "message_rate" ["limits.message_rate", "limits.message_burst"]
        "the message is answered with 111, and after a burst of them the connection closed with 3013"
        |s| Some(s.hub.refused_messages.saturating_sub(s.hub.full_inboxes));
    "inbox" ["limits.inbox"] "the message is answered with 111" |s| Some(s.hub.full_inboxes);
    "handlers" ["limits.handlers"] "the event waits for its turn" |s| Some(s.hub.delayed_handlers);
    "fanout" [] "the events of a connection wait for their turn, because it and others cause many deliveries"
        |s| Some(s.hub.delayed_fanouts);
    "message_size" ["websocket.max_message_size"] "Close 1009"
        |s| s.broken("max_message_size").zip(s.broken("max_frame_size")).map(|(whole, frame)| whole + frame);
    "fragments" ["websocket.max_fragments"] "Close 1008" |s| s.broken("max_fragments");
    "inflate_ratio" [] "Close 1009" |s| s.broken("max_inflate_ratio");
    "control_frames" [] "Close 1008" |s| s.broken("control_burst");
    "message_time" [] "a message that was begun is not completed in time: Close 1008" |s| s.broken("message_timeout");
    "silence" ["websocket.pong_timeout", "websocket.write_timeout"]
        "a peer that neither answers nor reads is given up" |s| s.ended("network", close::NO_PONG.code);
    "json_depth" [] "the message is answered with 107" |s| Some(s.hub.too_deep);
    "name_length" ["limits.tag_length"] "the message is answered with 107" |s| Some(s.hub.long_names);
    "frame_messages" [] "more messages in one frame are answered with 106" |s| Some(s.hub.large_batches);
    "tags_per_connection" ["limits.tags_per_connection"] "the tag is not joined: 106" |s| Some(s.hub.refused_tags);
    "handler_timeout" ["limits.handler_timeout"] "the request is answered with 113" |s| Some(s.hub.handler_timeouts);
    "connections_per_user" ["limits.connections_per_user"] "a new connection is closed with 3504"
        |s| Some(s.hub.refused_users);
    "authentication_time" ["limits.authentication_timeout"] "the connection is closed with 3502"
        |s| Some(s.hub.authentication_timeouts);
    "hook_breaker" [] "the backend is not asked; the client is answered with 100"
        |s| Some(s.hooks.iter().map(|(_, hook)| hook.rejected).sum());
    "webhook_queue" ["webhooks.max_queue"] "the event is dropped" |s| Some(s.webhooks?.dropped_overflow);
    "webhook_attempts" ["webhooks.attempts"] "the events of the batch are dropped" |s| Some(s.webhooks?.dropped_attempts);
    "outgoing_waiting" ["outgoing.max_concurrent", "outgoing.max_waiting"] "the request fails at once"
        |s| Some(s.outgoing?.busy);
    "outgoing_timeout" ["hooks.connect.timeout", "webhooks.timeout"] "the request fails"
        |s| Some(s.outgoing?.timeouts);
    "outgoing_answer" ["hooks.max_response_size"] "the request fails" |s| Some(s.outgoing?.too_large);
    "api_body" ["api.max_body"] "the request is answered with 413" |s| Some(s.api?.too_large);
    "api_failures" [] "an address that showed ten wrong keys in a minute is answered with 429"
        |s| Some(s.api?.throttled);
    "admin_logins" [] "beyond ten wrong tokens of an address in a minute, or a hundred in all, logins to the admin page are answered with 429"
        |s| Some(s.admin?.throttled);
    "admin_sessions" [] "the session of the admin page that was idle for longest ends" |s| Some(s.admin?.evicted);
    "admin_sockets" [] "a socket of the admin page is closed with 1013" |s| Some(s.admin?.refused_sockets);
    "admin_traces" [] "the connection is not traced: 106" |s| Some(s.admin?.too_many_traces);
    "trace_queue" ["traces.sample"] "the span is lost" |s| Some(s.traces?.dropped);
    "log_lines" ["logs.rate"] "the line is left out, and counted in the next one" |s| Some(s.log_lines);
    "revocations" ["auth.max_revocations"] "the revocation is refused" |s| Some(s.auth?.revocations_refused);
    "tickets" ["auth.max_tickets"] "no ticket is issued" |s| Some(s.auth?.tickets_refused);
};
