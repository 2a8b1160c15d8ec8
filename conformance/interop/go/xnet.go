// golang.org/x/net/websocket as a client and as a server.

package main

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"golang.org/x/net/websocket"
)

// The library hides most of the protocol: no pongs, no close codes, no fragments.
type xnet struct {
	conn *websocket.Conn
}

// A frame is all that the library's codecs know of a message.
type frame struct {
	kind    kind
	payload []byte
}

var codec = websocket.Codec{
	Marshal: func(value any) ([]byte, byte, error) {
		frame := value.(*frame)
		return frame.payload, byte(frame.kind), nil
	},
	Unmarshal: func(payload []byte, kindOf byte, value any) error {
		*value.(*frame) = frame{kind(kindOf), payload}
		return nil
	},
}

func dialXnet(address string, options options) (socket, error) {
	location, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	scheme := map[string]string{"ws": "http", "wss": "https"}[location.Scheme]
	// The library sends an Origin whether it makes sense or not.
	config, err := websocket.NewConfig(address, scheme+"://"+location.Host)
	if err != nil {
		return nil, err
	}
	config.Protocol = []string{"other", subprotocol}
	config.TlsConfig = options.tls
	conn, err := websocket.DialConfig(config)
	if err != nil {
		return nil, err
	}
	return &xnet{conn}, nil
}

func (x *xnet) send(kind kind, payload []byte) error {
	return codec.Send(x.conn, &frame{kind, payload})
}

func (x *xnet) sendParts(kind, [][]byte) error { return errUnsupported }

func (x *xnet) receive() (kind, []byte, error) {
	var got frame
	err := codec.Receive(x.conn, &got)
	return got.kind, got.payload, err
}

// Pongs are swallowed: only what comes after one can be looked at.
func (x *xnet) ping(payload string) error {
	if err := codec.Send(x.conn, &frame{websocket.PingFrame, []byte(payload)}); err != nil {
		return err
	}
	return echo(x, text, []byte("after the ping"))
}

func (x *xnet) close(code int, reason string) (closed, error) {
	if code == 0 || reason != "" {
		return closed{}, errUnsupported
	}
	if err := x.conn.WriteClose(code); err != nil {
		return closed{}, err
	}
	if _, _, err := x.receive(); !errors.Is(err, io.EOF) {
		return closed{}, err
	}
	return closed{code, ""}, nil
}

// A Close frame is the end of the stream, whatever its code.
func (x *xnet) closed() (closed, error) {
	for {
		if _, _, err := x.receive(); err != nil {
			return closed{}, errUnsupported
		}
	}
}

func (x *xnet) subprotocol() string {
	// The one that was agreed on takes the place of those that were offered.
	if protocols := x.conn.Config().Protocol; len(protocols) == 1 {
		return protocols[0]
	}
	return ""
}

func (x *xnet) compressed() bool { return false }

func (x *xnet) drop() { x.conn.Close() }

func serveXnet(options) http.Handler {
	return websocket.Server{
		// Without this hook the library insists on an Origin and refuses a choice of subprotocols.
		Handshake: func(config *websocket.Config, r *http.Request) error {
			offered := config.Protocol
			config.Protocol = nil
			for _, name := range offered {
				if name == subprotocol {
					config.Protocol = []string{name}
				}
			}
			return nil
		},
		Handler: func(conn *websocket.Conn) {
			// Without this nothing answers a Close frame; it says 1000 whatever the peer said.
			defer conn.Close()
			query := conn.Request().URL.Query()
			if conn.Request().URL.Path == "/close" {
				code, _ := strconv.Atoi(query.Get("code"))
				conn.WriteClose(code)
				io.Copy(io.Discard, conn)
				return
			}
			for {
				var got frame
				if err := codec.Receive(conn, &got); err != nil {
					return
				}
				if err := codec.Send(conn, &got); err != nil {
					return
				}
			}
		},
	}
}
