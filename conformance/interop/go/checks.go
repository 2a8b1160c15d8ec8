// What every library's client is checked for against our server, and how verdicts are printed.

package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"time"
)

type kind int

const (
	text   kind = 1
	binary kind = 2
)

// errUnsupported is the answer of a library that has no such function: the check is left out.
var errUnsupported = errors.New("not offered by the library")

// A socket is what the checks need of a library's connection.
type socket interface {
	send(kind kind, payload []byte) error
	sendParts(kind kind, parts [][]byte) error
	receive() (kind, []byte, error)
	// ping resolves when the pong with this payload is there; nothing else may be on its way.
	ping(payload string) error
	// close sends a Close frame and waits for the one of the server; 0 sends none of code and reason.
	close(code int, reason string) (closed, error)
	// closed reads until the server's Close frame.
	closed() (closed, error)
	subprotocol() string
	// compressed says whether permessage-deflate was agreed on.
	compressed() bool
	drop()
}

type closed struct {
	code   int
	reason string
}

type checks struct {
	// tag stands before the name of each check.
	tag            string
	passed, failed int
}

// run does one check within its time.
func (c *checks) run(name string, check func() error) {
	done := make(chan error, 1)
	go func() { done <- check() }()
	select {
	case err := <-done:
		c.judge(name, err)
	case <-time.After(patience):
		c.judge(name, fmt.Errorf("nothing within %v", patience))
	}
}

func (c *checks) judge(name string, err error) {
	switch {
	case err == nil:
		c.passed++
		fmt.Println("ok - " + c.tag + name)
	case errors.Is(err, errUnsupported):
		fmt.Println("# left out - " + c.tag + name)
	default:
		c.failed++
		fmt.Println("not ok - " + c.tag + name + ": " + strings.ReplaceAll(err.Error(), "\n", " "))
	}
}

// adopt takes over the lines that another program printed, and how it ended.
func (c *checks) adopt(output string, ended error) {
	failed := c.failed
	for line := range strings.Lines(output) {
		if name, found := strings.CutPrefix(line, "ok - "); found {
			c.judge(strings.TrimSpace(name), nil)
		} else if name, found := strings.CutPrefix(line, "not ok - "); found {
			name, why, _ := strings.Cut(strings.TrimSpace(name), ": ")
			c.judge(name, errors.New(why))
		}
	}
	if ended != nil && c.failed == failed {
		c.judge("ends well", ended)
	}
}

// all runs every check; stop is called when the server shall go away.
func (c *checks) all(library library, url string, options options, stop func()) {
	dial := func(do func(socket) error) func() error {
		return func() error {
			s, err := library.dial(url, options)
			if err != nil {
				return err
			}
			defer s.drop()
			return do(s)
		}
	}

	c.run("handshake", dial(func(s socket) error {
		if s.subprotocol() != subprotocol {
			return fmt.Errorf("subprotocol %q", s.subprotocol())
		}
		if s.compressed() != options.compression {
			return fmt.Errorf("compressed: %v", s.compressed())
		}
		return nil
	}))
	c.run("text", dial(func(s socket) error { return echo(s, text, []byte("hello")) }))
	c.run("text beyond ASCII", dial(func(s socket) error { return echo(s, text, []byte("κόσμε 世界 🎵")) }))
	c.run("empty text", dial(func(s socket) error { return echo(s, text, nil) }))
	c.run("empty binary", dial(func(s socket) error { return echo(s, binary, nil) }))
	for _, size := range []int{1, 125, 126, 127, 65535, 65536, 1 << 20, 8 << 20} {
		c.run(fmt.Sprintf("text of %d bytes", size), dial(func(s socket) error { return echo(s, text, letters(size)) }))
		c.run(fmt.Sprintf("binary of %d bytes", size), dial(func(s socket) error { return echo(s, binary, noise(size)) }))
	}
	c.run("messages in a row share one context", dial(func(s socket) error {
		for size := range 200 {
			if err := echo(s, text, bytes.Repeat([]byte("the same words again "), size)); err != nil {
				return err
			}
		}
		return nil
	}))
	c.run("1000 messages under way keep their order", dial(func(s socket) error { return pipeline(s, 1000) }))
	c.run("text in fragments", dial(func(s socket) error {
		parts := [][]byte{[]byte("one, "), []byte("two \xe4"), []byte("\xb8\x96"), nil, []byte(" three")}
		if err := s.sendParts(text, parts); err != nil {
			return err
		}
		return expect(s, text, bytes.Join(parts, nil))
	}))
	c.run("binary in fragments", dial(func(s socket) error {
		parts := [][]byte{noise(10), noise(70000), noise(1)}
		if err := s.sendParts(binary, parts); err != nil {
			return err
		}
		return expect(s, binary, bytes.Join(parts, nil))
	}))
	c.run("ping", dial(func(s socket) error { return s.ping("are you there") }))
	c.run("empty ping", dial(func(s socket) error { return s.ping("") }))
	for _, want := range []closed{{1000, ""}, {1000, "done"}, {1001, "going"}, {3000, ""}, {4999, strings.Repeat("é", 61)}} {
		c.run(fmt.Sprintf("close %d %q", want.code, want.reason), dial(func(s socket) error {
			got, err := s.close(want.code, want.reason)
			return same(got, closed{want.code, ""}, err)
		}))
	}
	c.run("close without a code", dial(func(s socket) error {
		got, err := s.close(0, "")
		return same(got, closed{1005, ""}, err)
	}))
	c.run("text that is no UTF-8 ends with 1007", dial(func(s socket) error {
		if err := s.send(text, []byte("\xff\xfe")); err != nil {
			return err
		}
		got, err := s.closed()
		return same(got, closed{1007, ""}, err)
	}))
	c.run("a message beyond the limit ends with 1009", dial(func(s socket) error {
		// The server closes while this is still being written: then writing fails, which is no matter.
		s.send(binary, noise(maxMessageSize+1))
		got, err := s.closed()
		return same(got, closed{1009, ""}, err)
	}))
	c.run("a server that stops says 1001", dial(func(s socket) error {
		if err := echo(s, text, []byte("still there")); err != nil {
			stop()
			return err
		}
		stop()
		got, err := s.closed()
		return same(got, closed{1001, ""}, err)
	}))
}

func echo(s socket, kind kind, payload []byte) error {
	if err := s.send(kind, payload); err != nil {
		return err
	}
	return expect(s, kind, payload)
}

func expect(s socket, kind kind, payload []byte) error {
	gotKind, got, err := s.receive()
	switch {
	case err != nil:
		return err
	case gotKind != kind:
		return fmt.Errorf("kind %d came back as %d", kind, gotKind)
	case !bytes.Equal(got, payload):
		return fmt.Errorf("%d bytes came back as %d other ones", len(payload), len(got))
	}
	return nil
}

func pipeline(s socket, count int) error {
	sent := make(chan error, 1)
	go func() {
		for n := range count {
			if err := s.send(text, fmt.Appendf(nil, "message %d", n)); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for n := range count {
		if err := expect(s, text, fmt.Appendf(nil, "message %d", n)); err != nil {
			return err
		}
	}
	return <-sent
}

// same judges the code alone: the server's words are its own.
func same(got, want closed, err error) error {
	if err != nil {
		return err
	}
	if got.code != want.code {
		return fmt.Errorf("closed with %d %q instead of %d", got.code, got.reason, want.code)
	}
	return nil
}

// letters look random: they compress, but not to nothing.
func letters(size int) []byte {
	payload := noise(size)
	for at, letter := range payload {
		payload[at] = 'a' + letter%16
	}
	return payload
}

func noise(size int) []byte {
	payload := make([]byte, size)
	source := rand.New(rand.NewSource(int64(size)))
	source.Read(payload)
	return payload
}
