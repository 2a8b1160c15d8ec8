// gws: an echo in its event handler, and its own Broadcaster.
package main

import (
	"net/http"
	"sync"

	"github.com/lxzan/gws"
)

type gwsHandler struct {
	gws.BuiltinEventHandler
	broadcast bool
	mutex     sync.RWMutex
	members   map[*gws.Conn]bool
}

func (h *gwsHandler) OnOpen(socket *gws.Conn) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.members[socket] = true
}

func (h *gwsHandler) OnClose(socket *gws.Conn, _ error) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	delete(h.members, socket)
}

func (h *gwsHandler) OnPing(socket *gws.Conn, payload []byte) {
	_ = socket.WritePong(payload)
}

func (h *gwsHandler) OnMessage(socket *gws.Conn, message *gws.Message) {
	defer message.Close()
	if !h.broadcast {
		_ = socket.WriteMessage(message.Opcode, message.Bytes())
		return
	}
	frame := gws.NewBroadcaster(message.Opcode, append([]byte(nil), message.Bytes()...))
	defer frame.Close()
	h.mutex.RLock()
	defer h.mutex.RUnlock()
	for member := range h.members {
		_ = frame.Broadcast(member)
	}
}

func gwsPeer(o options) http.Handler {
	takeover := o.deflate == "takeover"
	upgrader := gws.NewUpgrader(
		&gwsHandler{broadcast: o.mode == "broadcast", members: map[*gws.Conn]bool{}},
		&gws.ServerOption{
			CheckUtf8Enabled:    true,
			ReadMaxPayloadSize:  longest,
			WriteMaxPayloadSize: longest,
			PermessageDeflate: gws.PermessageDeflate{
				Enabled:               o.deflate != "off",
				Threshold:             1,
				ServerContextTakeover: takeover,
				ClientContextTakeover: takeover,
			},
		},
	)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if socket, err := upgrader.Upgrade(w, r); err == nil {
			socket.ReadLoop()
		}
	})
}
