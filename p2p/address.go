package p2p

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	lcrypto "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/crypto/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"tangaroa/crypto"
)

// peerID returns the libp2p name of an Ed25519 key. The key is part of the name, so the two can be
// turned into each other without a directory.
func peerID(key crypto.PublicKey) (peer.ID, error) {
	pub, err := lcrypto.UnmarshalEd25519PublicKey(key[:])
	if err != nil {
		return "", fmt.Errorf("p2p: reading public key: %w", err)
	}
	return peer.IDFromPublicKey(pub)
}

// publicKey is the inverse of peerID. It is false for keys that are not Ed25519.
func publicKey(id peer.ID) (crypto.PublicKey, bool) {
	pub, err := id.ExtractPublicKey()
	if err != nil || pub.Type() != pb.KeyType_Ed25519 {
		return crypto.PublicKey{}, false
	}
	raw, err := pub.Raw()
	if err != nil || len(raw) != len(crypto.PublicKey{}) {
		return crypto.PublicKey{}, false
	}
	return crypto.PublicKey(raw), true
}

// privateKey turns our key into libp2p's form: the seed followed by the public key.
func privateKey(key crypto.PrivateKey) (lcrypto.PrivKey, error) {
	seed, public := key.Seed(), key.Public()
	return lcrypto.UnmarshalEd25519PrivateKey(append(seed[:], public[:]...))
}

func parseAddrs(addrs []string, transport string) ([]ma.Multiaddr, error) {
	parsed := make([]ma.Multiaddr, 0, len(addrs))
	for _, a := range addrs {
		m, err := parseAddr(a, transport)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, m)
	}
	return parsed, nil
}

// parseAddr reads "host:port" or a multiaddr. A host that is no IP address is looked up each time
// it is dialled.
func parseAddr(addr, transport string) (ma.Multiaddr, error) {
	if !strings.HasPrefix(addr, "/") {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, fmt.Errorf("p2p: address %q: %w", addr, err)
		}
		if addr, err = hostPortMultiaddr(host, port, transport); err != nil {
			return nil, err
		}
	}
	m, err := ma.NewMultiaddr(addr)
	if err != nil {
		return nil, fmt.Errorf("p2p: address %q: %w", addr, err)
	}
	want := ma.P_TCP
	if transport == TransportQUIC {
		want = ma.P_QUIC_V1
	}
	if _, err := m.ValueForProtocol(want); err != nil {
		return nil, fmt.Errorf("p2p: address %q is not for transport %s", addr, transport)
	}
	return m, nil
}

func hostPortMultiaddr(host, port, transport string) (string, error) {
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("p2p: port %q is not between 0 and 65535", port)
	} else if port = strconv.FormatUint(n, 10); host == "" {
		host = "0.0.0.0"
	}
	kind := "dns"
	if ip, err := netip.ParseAddr(host); err == nil {
		kind = "ip6"
		if ip.Is4() {
			kind = "ip4"
		}
	}
	if transport == TransportQUIC {
		return "/" + kind + "/" + host + "/udp/" + port + "/quic-v1", nil
	}
	return "/" + kind + "/" + host + "/tcp/" + port, nil
}

// hostPort is the inverse of parseAddr for addresses that we listen on.
func hostPort(m ma.Multiaddr) string {
	var host, port string
	ma.ForEach(m, func(c ma.Component) bool {
		switch c.Protocol().Code {
		case ma.P_IP4, ma.P_IP6, ma.P_DNS, ma.P_DNS4, ma.P_DNS6:
			host = c.Value()
		case ma.P_TCP, ma.P_UDP:
			port = c.Value()
		}
		return true
	})
	return net.JoinHostPort(host, port)
}
