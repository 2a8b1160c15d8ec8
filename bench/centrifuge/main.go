// A server of the library that Centrifugo is built on, set up as Centrifugo does it: everybody may subscribe and publish.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/centrifugal/centrifuge"
)

func main() {
	port := flag.Int("port", 0, "the port; 0 lets the system choose")
	flag.Parse()
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		fail(err)
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{}}, nil
	})
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnSubscribe(func(_ centrifuge.SubscribeEvent, answer centrifuge.SubscribeCallback) {
			answer(centrifuge.SubscribeReply{}, nil)
		})
		client.OnPublish(func(_ centrifuge.PublishEvent, answer centrifuge.PublishCallback) {
			answer(centrifuge.PublishReply{}, nil)
		})
	})
	if err := node.Run(); err != nil {
		fail(err)
	}
	handler := centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		CheckOrigin: func(*http.Request) bool { return true },
		// Centrifugo's default.
		UseWriteBufferPool: true,
	})
	listener, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		fail(err)
	}
	fmt.Printf("listening on ws://%s/\n", listener.Addr())
	fail(http.Serve(listener, handler))
}

func fail(why error) {
	fmt.Fprintln(os.Stderr, "error:", why)
	os.Exit(2)
}
