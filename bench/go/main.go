// The Go peers in one program: `peers NAME [--port N] [--mode M] [--deflate D] [--cert FILE --key FILE]`.
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
)

// longest is the longest message that a peer takes, where it has a limit.
const longest = 16 << 20

// options is what the command line says.
type options struct {
	mode    string
	deflate string
}

// peers makes the handler of each library; nil says that it has no such mode.
var peers = map[string]func(options) http.Handler{
	"gorilla": gorillaPeer,
	"gws":     gwsPeer,
	"coder":   coderPeer,
}

func main() {
	if len(os.Args) < 2 || peers[os.Args[1]] == nil {
		fail("the first word is gorilla, gws or coder")
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	var o options
	port := flags.Int("port", 0, "the port; 0 lets the system choose")
	flags.StringVar(&o.mode, "mode", "echo", "echo or broadcast")
	flags.StringVar(&o.deflate, "deflate", "off", "off, fresh or takeover")
	certificate := flags.String("cert", "", "file of a certificate")
	key := flags.String("key", "", "file of its key")
	if err := flags.Parse(os.Args[2:]); err != nil {
		fail(err.Error())
	}
	handler := peers[os.Args[1]](o)
	if handler == nil {
		fail(fmt.Sprintf("this peer has no --mode %s --deflate %s", o.mode, o.deflate))
	}
	// Go sets TCP_NODELAY on what it accepts, and takes the backlog from the system.
	listener, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		fail(err.Error())
	}
	scheme := "ws"
	if *certificate != "" {
		pair, err := tls.LoadX509KeyPair(*certificate, *key)
		if err != nil {
			fail(err.Error())
		}
		scheme = "wss"
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{pair}})
	}
	fmt.Printf("listening on %s://%s/\n", scheme, listener.Addr())
	fail(http.Serve(listener, handler).Error())
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, "error: "+why)
	os.Exit(2)
}
