// Command interop speaks WebSocket with the well-known libraries of Go, both ways:
//
//	interop PATH-OF-ANTIPHON PATH-OF-INTEROP_CLIENT [LIBRARY]...
//
// Each library is a client of `antiphon echo`, then an echo server for our client; plain, compressed and over TLS.
// Prints `ok - NAME` or `not ok - NAME: WHY` for each check and ends with the sums.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// What both sides agree on beforehand.
const (
	subprotocol    = "chat"
	maxMessageSize = 16 << 20
	patience       = 30 * time.Second
)

type options struct {
	compression bool
	tls         *tls.Config
}

type library struct {
	name string
	// compression: permessage-deflate is offered and accepted.
	compression bool
	dial        func(url string, options options) (socket, error)
	// serve handles requests; where it is nil, listen runs the library's own HTTP server.
	serve  func(options options) http.Handler
	listen func(options options, certificate certificate) (address string, err error)
	// without names the checks of our client that the library's server cannot pass.
	without []string
}

var libraries = []library{
	{name: "gorilla", compression: true, dial: dialGorilla, serve: serveGorilla},
	{name: "coder", compression: true, dial: dialCoder, serve: serveCoder},
	{name: "xnet", dial: dialXnet, serve: serveXnet,
		without: []string{"fragments", "pong", "reasons", "close with 3000", "close with 4999"}},
	{name: "gf", dial: dialGf, listen: listenGf, without: []string{"subprotocol"}},
}

type certificate struct{ chain, key string }

func main() {
	if len(os.Args) < 3 {
		fail("usage: interop PATH-OF-ANTIPHON PATH-OF-INTEROP_CLIENT [LIBRARY]...")
	}
	antiphon, client, names := os.Args[1], os.Args[2], os.Args[3:]
	directory, err := os.MkdirTemp("", "interop")
	must(err)
	defer os.RemoveAll(directory)
	must(exec.Command(client, "--certificate", directory).Run())
	pair := certificate{filepath.Join(directory, "cert.pem"), filepath.Join(directory, "key.pem")}

	var c checks
	for _, library := range libraries {
		if len(names) > 0 && !slices.Contains(names, library.name) {
			continue
		}
		asClient(&c, antiphon, library, "plain", options{})
		asServer(&c, client, library, "plain", options{}, certificate{})
		if library.compression {
			asClient(&c, antiphon, library, "deflate", options{compression: true})
			asServer(&c, client, library, "deflate", options{compression: true}, certificate{}, "--compression")
			for _, more := range []string{"--window 0", "--window 32768", "--dedicated", "--bits 9", "--no-takeover"} {
				flags := append([]string{"--compression"}, strings.Fields(more)...)
				asServer(&c, client, library, "deflate "+more, options{compression: true}, certificate{}, flags...)
			}
		}
		asClient(&c, antiphon, library, "TLS", options{tls: trust(pair.chain)}, "--tls-cert", pair.chain, "--tls-key", pair.key)
		asServer(&c, client, library, "TLS", options{}, pair, "--ca", pair.chain)
	}
	fmt.Printf("%d passed, %d failed\n", c.passed, c.failed)
	if c.failed > 0 {
		os.RemoveAll(directory)
		os.Exit(1)
	}
}

// asClient runs all checks against an `antiphon echo` of its own, which is told to stop during the last one.
func asClient(c *checks, antiphon string, library library, how string, options options, flags ...string) {
	arguments := []string{"echo", "--listen", "127.0.0.1:0", "--max-message-size", "16MiB", "--subprotocol", subprotocol}
	if options.compression {
		arguments = append(arguments, "--compression", "--compression-min-size", "0")
	}
	c.tag = library.name + " client, " + how + ": "
	command := exec.Command(antiphon, append(arguments, flags...)...)
	command.Stderr = os.Stderr
	output, err := command.StdoutPipe()
	must(err)
	must(command.Start())
	defer command.Process.Kill()
	line, err := bufio.NewReader(output).ReadString('\n')
	url, found := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if !found {
		c.judge("the server's first line", fmt.Errorf("%q, %v", line, err))
		return
	}
	c.all(library, url, options, func() { command.Process.Signal(syscall.SIGTERM) })
	c.run("the server ends with 0", command.Wait)
}

// asServer runs our client against the library's server in this process.
func asServer(c *checks, client string, library library, how string, options options, certificate certificate, flags ...string) {
	c.tag = library.name + " server, " + how + ": "
	address, err := listen(library, options, certificate)
	if err != nil {
		c.judge("listens", err)
		return
	}
	for _, check := range library.without {
		flags = append(flags, "--without", check)
	}
	scheme := "ws"
	if certificate.chain != "" {
		scheme = "wss"
	}
	command := exec.Command(client, append([]string{scheme + "://" + address + "/"}, flags...)...)
	command.Stderr = os.Stderr
	timer := time.AfterFunc(10*patience, func() { command.Process.Kill() })
	output, err := command.Output()
	timer.Stop()
	c.adopt(string(output), err)
}

func listen(library library, options options, certificate certificate) (string, error) {
	if library.listen != nil {
		return library.listen(options, certificate)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	// It serves until the process ends.
	if certificate.chain != "" {
		go http.ServeTLS(listener, library.serve(options), certificate.chain, certificate.key)
	} else {
		go http.Serve(listener, library.serve(options))
	}
	return listener.Addr().String(), nil
}

func trust(file string) *tls.Config {
	pem, err := os.ReadFile(file)
	must(err)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		fail("no certificate in " + file)
	}
	return &tls.Config{RootCAs: roots}
}

func must(err error) {
	if err != nil {
		fail(err.Error())
	}
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, "interop: "+why)
	os.Exit(2)
}
