//! `antiphon serve --config FILE`: the real binary, clients on real sockets, and a backend in the test.

mod support;

mod realtime {
    mod admin;
    mod backend;
    mod demo;
    mod door;
    mod hooks;
    mod hostile;
    mod limits;
    mod logins;
    mod permissions;
    mod secrets;
    #[cfg(unix)]
    mod signals;
    mod site;
    mod times;
    mod token;
}
