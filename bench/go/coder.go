// coder/websocket: an echo by Read and Write.
package main

import (
	"context"
	"net/http"

	"github.com/coder/websocket"
)

func coderPeer(o options) http.Handler {
	compression := map[string]websocket.CompressionMode{
		"off":      websocket.CompressionDisabled,
		"fresh":    websocket.CompressionNoContextTakeover,
		"takeover": websocket.CompressionContextTakeover,
	}
	mode, known := compression[o.deflate]
	if o.mode != "echo" || !known {
		return nil
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		accept := websocket.AcceptOptions{CompressionMode: mode, CompressionThreshold: 1, InsecureSkipVerify: true}
		socket, err := websocket.Accept(w, r, &accept)
		if err != nil {
			return
		}
		defer socket.CloseNow()
		socket.SetReadLimit(longest)
		for {
			kind, message, err := socket.Read(context.Background())
			if err != nil || socket.Write(context.Background(), kind, message) != nil {
				return
			}
		}
	})
}
