// GoFrame as its documentation shows it: gclient.NewWebSocket, and an echo behind ghttp.

package main

import (
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/gogf/gf/v2/frame/g"
	"github.com/gogf/gf/v2/net/gclient"
	"github.com/gogf/gf/v2/net/ghttp"
	"github.com/gogf/gf/v2/os/glog"
)

// The client as GoFrame's documentation shows it.
func dialGf(url string, options options) (socket, error) {
	client := gclient.NewWebSocket()
	client.HandshakeTimeout = 5 * time.Second
	client.Proxy = http.ProxyFromEnvironment
	client.TLSClientConfig = options.tls
	client.Subprotocols = []string{"other", subprotocol}
	return dialWith(client.Dialer, url)
}

// The server as GoFrame's documentation shows it: an echo behind Request.WebSocket. It knows no subprotocol.
func listenGf(options options, certificate certificate) (string, error) {
	// GoFrame binds by number: a free one is found here.
	probe, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	address := probe.Addr().(*net.TCPAddr)
	probe.Close()

	g.Log().SetLevel(glog.LEVEL_ERRO)
	// A server is known by its name in the whole process.
	s := g.Server(address.String())
	s.SetDumpRouterMap(false)
	s.SetGraceful(false)
	s.Logger().SetLevel(glog.LEVEL_ERRO)
	s.BindHandler("/*", func(r *ghttp.Request) {
		ws, err := r.WebSocket()
		if err != nil {
			r.Exit()
		}
		answerGorilla(ws.Conn, r.Request)
	})
	if certificate.chain != "" {
		s.EnableHTTPS(certificate.chain, certificate.key)
		s.SetHTTPSAddr("127.0.0.1:" + strconv.Itoa(address.Port))
	} else {
		s.SetAddr("127.0.0.1:" + strconv.Itoa(address.Port))
	}
	return address.String(), s.Start()
}
