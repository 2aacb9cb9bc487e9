// Checks Ed25519 signatures for the node that started it, many at once: almost twice as fast as libsodium where the processor has AVX2.
//
// Usage: yilian-verifier [GOROUTINES], with the node at both ends of its pipes. It ends when its input does, so also when the node is killed.
//
// Shape: a question is 4 bytes of length and then, for each signature, 32 bytes of key, 64 of signature, 4 of length, the message; an answer
// is a byte for each, 1 for yes. Lengths are big-endian.
//
// Verdict: libsodium's, as the network's genesis says: s below the group's order, key and R canonical and of no small order, and R = sB - kA
// to the byte, without the cofactor. Its node checks it on the edge cases at each start and asks libsodium about each no (verifier.py, ADR-0158).
package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
)

const (
	keySize       = 32
	signatureSize = 64
	headSize      = keySize + signatureSize + 4
	frameSizeMax  = 1 << 26 // several full blocks: what claims more is not our node
	keysMax       = 4096    // seen or expanded; a network has some hundreds that come again
	shareMin      = 32      // signatures, 1 ms of a core: less is not worth a goroutine
)

var (
	strict    = &ed25519.Options{Verify: &ed25519.VerifyOptions{CofactorlessVerify: true}} // all else false: nothing is let pass
	errNotOur = errors.New("a question that no node asks")
)

type signed struct {
	key, signature, message []byte
}

// A member's key comes again and again and is expanded for it; an approval's is used once, and to expand it would cost more than it saves.
type keyring struct {
	guard sync.Mutex
	known map[[keySize]byte]*ed25519.ExpandedPublicKey // nil: seen once
}

func (ring *keyring) expanded(key []byte) *ed25519.ExpandedPublicKey {
	name := [keySize]byte(key)
	ring.guard.Lock()
	defer ring.guard.Unlock()
	found, isSeen := ring.known[name]
	if !isSeen {
		if len(ring.known) >= keysMax {
			clear(ring.known)
		}
		ring.known[name] = nil
	} else if found == nil {
		if made, err := ed25519.NewExpandedPublicKey(key); err == nil {
			ring.known[name], found = made, made
		}
	}
	return found
}

func (ring *keyring) holds(one signed) bool {
	if key := ring.expanded(one.key); key != nil {
		return ed25519.VerifyExpandedWithOptions(key, one.message, one.signature, strict)
	}
	return ed25519.VerifyWithOptions(one.key, one.message, one.signature, strict)
}

func taken(frame []byte) ([]signed, error) {
	var all []signed
	for len(frame) > 0 {
		if len(frame) < headSize {
			return nil, errNotOur
		}
		end := headSize + uint64(binary.BigEndian.Uint32(frame[headSize-4:headSize]))
		if end > uint64(len(frame)) {
			return nil, errNotOur
		}
		all = append(all, signed{frame[:keySize], frame[keySize : keySize+signatureSize], frame[headSize:end]})
		frame = frame[end:]
	}
	return all, nil
}

func (ring *keyring) verdicts(all []signed, workers int) []byte {
	said := make([]byte, len(all))
	share := max(shareMin, (len(all)+workers-1)/workers)
	var waiting sync.WaitGroup
	for start := 0; start < len(all); start += share {
		end := min(start+share, len(all))
		waiting.Add(1)
		go func() {
			defer waiting.Done()
			for at := start; at < end; at++ {
				if ring.holds(all[at]) {
					said[at] = 1
				}
			}
		}()
	}
	waiting.Wait()
	return said
}

func serve(in io.Reader, out io.Writer, workers int) error {
	ring := &keyring{known: map[[keySize]byte]*ed25519.ExpandedPublicKey{}}
	var head [4]byte
	var frame []byte
	for {
		if _, err := io.ReadFull(in, head[:]); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		size := int(binary.BigEndian.Uint32(head[:]))
		if size > frameSizeMax {
			return errNotOur
		}
		if size > cap(frame) {
			frame = make([]byte, size)
		}
		frame = frame[:size]
		if _, err := io.ReadFull(in, frame); err != nil {
			return err
		}
		all, err := taken(frame)
		if err != nil {
			return err
		}
		if _, err := out.Write(ring.verdicts(all, workers)); err != nil {
			return err
		}
	}
}

func main() {
	workers := 1
	if len(os.Args) > 1 {
		if _, err := fmt.Sscanf(os.Args[1], "%d", &workers); err != nil || workers < 1 {
			fmt.Fprintln(os.Stderr, "usage: yilian-verifier [goroutines]")
			os.Exit(2)
		}
	}
	if err := serve(bufio.NewReaderSize(os.Stdin, 1<<16), os.Stdout, workers); err != nil {
		fmt.Fprintln(os.Stderr, "yilian-verifier:", err)
		os.Exit(1)
	}
}
