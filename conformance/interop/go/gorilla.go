// github.com/gorilla/websocket as a client and as a server.

package main

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

type gorilla struct {
	conn     *websocket.Conn
	response *http.Response
	pong     chan string
}

func dialGorilla(url string, options options) (socket, error) {
	return dialWith(&websocket.Dialer{
		HandshakeTimeout:  5 * time.Second,
		Subprotocols:      []string{"other", subprotocol},
		EnableCompression: options.compression,
		TLSClientConfig:   options.tls,
	}, url)
}

func dialWith(dialer *websocket.Dialer, url string) (socket, error) {
	conn, response, err := dialer.Dial(url, nil)
	if err != nil {
		return nil, err
	}
	g := &gorilla{conn: conn, response: response, pong: make(chan string, 1)}
	conn.SetPongHandler(func(payload string) error {
		g.pong <- payload
		return nil
	})
	return g, nil
}

func (g *gorilla) send(kind kind, payload []byte) error {
	return g.conn.WriteMessage(int(kind), payload)
}

// The library cuts a message where its buffer of 4 KiB is full; there is no other way to ask for a fragment.
func (g *gorilla) sendParts(kind kind, parts [][]byte) error {
	total := 0
	for _, part := range parts {
		total += len(part)
	}
	if total < 4096 {
		return errUnsupported
	}
	writer, err := g.conn.NextWriter(int(kind))
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

func (g *gorilla) receive() (kind, []byte, error) {
	messageType, payload, err := g.conn.ReadMessage()
	return kind(messageType), payload, err
}

func (g *gorilla) ping(payload string) error {
	if err := g.conn.WriteControl(websocket.PingMessage, []byte(payload), time.Now().Add(time.Second)); err != nil {
		return err
	}
	// Pongs are seen while reading.
	if err := echo(g, text, []byte("after the ping")); err != nil {
		return err
	}
	select {
	case got := <-g.pong:
		if got != payload {
			return errors.New("the pong has another payload: " + got)
		}
		return nil
	default:
		return errors.New("no pong before the next message")
	}
}

func (g *gorilla) close(code int, reason string) (closed, error) {
	var payload []byte
	if code != 0 {
		payload = websocket.FormatCloseMessage(code, reason)
	}
	if err := g.conn.WriteControl(websocket.CloseMessage, payload, time.Now().Add(time.Second)); err != nil {
		return closed{}, err
	}
	return g.closed()
}

func (g *gorilla) closed() (closed, error) {
	for {
		_, _, err := g.conn.ReadMessage()
		var frame *websocket.CloseError
		if errors.As(err, &frame) {
			return closed{frame.Code, frame.Text}, nil
		}
		if err != nil {
			return closed{}, err
		}
	}
}

func (g *gorilla) subprotocol() string { return g.conn.Subprotocol() }

func (g *gorilla) compressed() bool {
	return strings.HasPrefix(g.response.Header.Get("Sec-Websocket-Extensions"), "permessage-deflate")
}

func (g *gorilla) drop() { g.conn.Close() }

func serveGorilla(options options) http.Handler {
	upgrader := websocket.Upgrader{Subprotocols: []string{subprotocol}, EnableCompression: options.compression}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		answerGorilla(conn, r)
	})
}

// answerGorilla is the server's side of one connection.
func answerGorilla(conn *websocket.Conn, r *http.Request) {
	defer conn.Close()
	switch r.URL.Path {
	case "/close":
		code, _ := strconv.Atoi(r.URL.Query().Get("code"))
		payload := websocket.FormatCloseMessage(code, r.URL.Query().Get("reason"))
		conn.WriteControl(websocket.CloseMessage, payload, time.Now().Add(time.Second))
	case "/ping":
		conn.SetPongHandler(func(payload string) error {
			return conn.WriteMessage(websocket.TextMessage, []byte("pong "+payload))
		})
		conn.WriteControl(websocket.PingMessage, []byte("are you there"), time.Now().Add(time.Second))
	}
	for {
		messageType, payload, err := conn.ReadMessage()
		if err != nil {
			return
		}
		if err := conn.WriteMessage(messageType, payload); err != nil {
			return
		}
	}
}
