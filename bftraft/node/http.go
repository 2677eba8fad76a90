package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Handler serves /metrics, /livez, /readyz, /status and, if asked for, /debug/pprof. It is what
// Config.HTTP serves, for programs that have a server of their own.
func (n *Node) Handler() http.Handler { return n.handler }

func (n *Node) newHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics",
		promhttp.HandlerFor(n.metrics.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", n.serveReady)
	mux.HandleFunc("GET /status", n.serveStatus)
	if n.cfg.Pprof {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return mux
}

func (n *Node) serveReady(w http.ResponseWriter, _ *http.Request) {
	if s := n.seen.Load(); !s.Ready {
		http.Error(w, s.NotReady, http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

func (n *Node) serveStatus(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(n.seen.Load()) // whoever asked has gone
}

// serveHTTP serves until stop is called.
func (n *Node) serveHTTP() (stop func(), err error) {
	n.web, err = net.Listen("tcp", n.cfg.HTTP)
	if err != nil {
		return nil, fmt.Errorf("serve status: %w", err)
	}
	server := &http.Server{
		Handler: n.handler, ReadTimeout: 5 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10,
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(n.web) // it ends when stop is called
	}()
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
		<-ended
	}, nil
}
