// github.com/coder/websocket as a client and as a server.

package main

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
)

type coder struct {
	conn     *websocket.Conn
	response *http.Response
}

func coderMode(options options) websocket.CompressionMode {
	if options.compression {
		return websocket.CompressionContextTakeover
	}
	return websocket.CompressionDisabled
}

func dialCoder(url string, options options) (socket, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, response, err := websocket.Dial(ctx, url, &websocket.DialOptions{
		HTTPClient:           &http.Client{Transport: &http.Transport{TLSClientConfig: options.tls}},
		Subprotocols:         []string{"other", subprotocol},
		CompressionMode:      coderMode(options),
		CompressionThreshold: 1,
	})
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(2 * maxMessageSize)
	return &coder{conn, response}, nil
}

func (c *coder) send(kind kind, payload []byte) error {
	return c.conn.Write(context.Background(), websocket.MessageType(kind), payload)
}

// Every write of a writer is a frame.
func (c *coder) sendParts(kind kind, parts [][]byte) error {
	writer, err := c.conn.Writer(context.Background(), websocket.MessageType(kind))
	if err != nil {
		return err
	}
	for _, part := range parts {
		if _, err := writer.Write(part); err != nil {
			return err
		}
	}
	return writer.Close()
}

func (c *coder) receive() (kind, []byte, error) {
	messageType, payload, err := c.conn.Read(context.Background())
	return kind(messageType), payload, err
}

// The library chooses the payload itself and compares it; it needs a reader meanwhile.
func (c *coder) ping(payload string) error {
	if payload == "" {
		return errUnsupported
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	read := make(chan error, 1)
	go func() { read <- expect(c, text, []byte("after the ping")) }()
	if err := c.conn.Ping(ctx); err != nil {
		return err
	}
	if err := c.send(text, []byte("after the ping")); err != nil {
		return err
	}
	return <-read
}

// Close of the library sends, waits and fails when the peer's code is another one than ours.
func (c *coder) close(code int, reason string) (closed, error) {
	if code == 0 {
		code = int(websocket.StatusNoStatusRcvd)
	}
	if err := c.conn.Close(websocket.StatusCode(code), reason); err != nil {
		return closed{}, err
	}
	return closed{code, ""}, nil
}

func (c *coder) closed() (closed, error) {
	for {
		_, _, err := c.conn.Read(context.Background())
		var frame websocket.CloseError
		if errors.As(err, &frame) {
			return closed{int(frame.Code), frame.Reason}, nil
		}
		if err != nil {
			return closed{}, err
		}
	}
}

func (c *coder) subprotocol() string { return c.conn.Subprotocol() }

func (c *coder) compressed() bool {
	return strings.HasPrefix(c.response.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate")
}

func (c *coder) drop() { c.conn.CloseNow() }

func serveCoder(options options) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
			Subprotocols:         []string{subprotocol},
			CompressionMode:      coderMode(options),
			CompressionThreshold: 1,
		})
		if err != nil {
			return
		}
		defer conn.CloseNow()
		conn.SetReadLimit(2 * maxMessageSize)
		switch r.URL.Path {
		case "/close":
			code, _ := strconv.Atoi(r.URL.Query().Get("code"))
			conn.Close(websocket.StatusCode(code), r.URL.Query().Get("reason"))
			return
		case "/ping":
			ctx := conn.CloseRead(context.Background())
			if conn.Ping(ctx) == nil {
				conn.Write(ctx, websocket.MessageText, []byte("pong are you there"))
			}
			<-ctx.Done()
			return
		}
		for {
			messageType, payload, err := conn.Read(context.Background())
			if err != nil {
				return
			}
			if err := conn.Write(context.Background(), messageType, payload); err != nil {
				return
			}
		}
	})
}
