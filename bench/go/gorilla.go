// gorilla/websocket: an echo, and the hub of its own chat example. It compresses without takeover, at level 1.
package main

import (
	"net/http"

	"github.com/gorilla/websocket"
)

func gorillaPeer(o options) http.Handler {
	if o.deflate == "takeover" {
		return nil
	}
	upgrader := websocket.Upgrader{
		EnableCompression: o.deflate == "fresh",
		CheckOrigin:       func(*http.Request) bool { return true },
	}
	room := newHub()
	if o.mode == "broadcast" {
		go room.run()
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		socket, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		socket.SetReadLimit(longest)
		if o.mode == "broadcast" {
			room.serve(socket)
			return
		}
		defer socket.Close()
		for {
			kind, message, err := socket.ReadMessage()
			if err != nil || socket.WriteMessage(kind, message) != nil {
				return
			}
		}
	})
}

// text is a message with its kind.
type text struct {
	kind    int
	message []byte
}

// member is a connection in the room.
type member struct {
	send chan text
}

// hub is the one goroutine that knows all members.
type hub struct {
	join, leave chan *member
	send        chan text
	members     map[*member]bool
}

func newHub() *hub {
	return &hub{make(chan *member), make(chan *member), make(chan text), map[*member]bool{}}
}

func (h *hub) run() {
	for {
		select {
		case m := <-h.join:
			h.members[m] = true
		case m := <-h.leave:
			if h.members[m] {
				delete(h.members, m)
				close(m.send)
			}
		case message := <-h.send:
			for m := range h.members {
				select {
				case m.send <- message:
				default:
					delete(h.members, m)
					close(m.send)
				}
			}
		}
	}
}

func (h *hub) serve(socket *websocket.Conn) {
	m := &member{make(chan text, 256)}
	h.join <- m
	go func() {
		defer socket.Close()
		for message := range m.send {
			if socket.WriteMessage(message.kind, message.message) != nil {
				return
			}
		}
	}()
	for {
		kind, message, err := socket.ReadMessage()
		if err != nil {
			h.leave <- m
			return
		}
		h.send <- text{kind, message}
	}
}
