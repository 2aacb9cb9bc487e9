// Checks Ed25519 signatures for the node that started it, many at once: with AVX2 in half of libsodium's time.
//
// Usage: yilian-verifier [GOROUTINES], with the node at both ends of its pipes. It ends when its input does, so also when the node is killed.
//
// Shape: a question is 4 bytes of length, 4 of its number and then, for each signature, 32 bytes of key, 64 of signature, 4 of length, the
// message; an answer is the question's number and a byte for each signature, 1 for yes. Numbers are big-endian.
//
// Verdict: libsodium's, as the network's genesis says: s below the group's order, key and R canonical and of no small order, and R = sB - kA
// to the byte, without the cofactor. Its node checks it on the edge cases at each start and asks libsodium about each no (verifier.py, ADR-0158).
package main

import (
	"bufio"
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
)

const (
	keySize       = 32
	signatureSize = 64
	headSize      = keySize + signatureSize + 4
	numberSize    = 4
	frameSizeMax  = 1 << 24 // four times what our node asks at once (QUESTION_SIZE_BYTES_MAX in verifier.py)
	usesMin       = 8       // a table takes 80 us to make and saves 12 each time
	seenMax       = 4096    // keys without a table that are counted
	lastingMax    = 512     // keys with one, 40 KiB each: of the members of a large network
	shareMin      = 32      // signatures, 1 ms of a core: less is not worth a goroutine
)

var (
	strict    = &ed25519.Options{Verify: &ed25519.VerifyOptions{CofactorlessVerify: true}} // all else false: nothing is let pass
	errNotOur = errors.New("a question that no node asks")
)

type signed struct {
	key, signature, message []byte
}

// A member's key comes again and again: a table of multiples of -A makes kA as cheap as sB. An approval's key is used a few times, and its
// table would cost more than it saves: that is left to the library's own verification.
type keyring struct {
	guard   sync.Mutex
	seen    map[[keySize]byte]int // how often
	lasting map[[keySize]byte]*curve.EdwardsBasepointTable
}

func newKeyring() *keyring {
	return &keyring{seen: map[[keySize]byte]int{}, lasting: map[[keySize]byte]*curve.EdwardsBasepointTable{}}
}

func (ring *keyring) table(key []byte) *curve.EdwardsBasepointTable {
	name := [keySize]byte(key)
	ring.guard.Lock()
	defer ring.guard.Unlock()
	if found := ring.lasting[name]; found != nil {
		return found
	}
	if len(ring.seen) >= seenMax {
		clear(ring.seen)
	}
	ring.seen[name]++
	if ring.seen[name] < usesMin {
		return nil
	}
	delete(ring.seen, name) // so another goroutine goes without meanwhile, and a key that has no table is counted again
	ring.guard.Unlock()
	made := multiples(key)
	ring.guard.Lock()
	if made != nil {
		for one := range ring.lasting { // any one: whoever fills this with keys of theirs pushes out theirs as well
			if len(ring.lasting) < lastingMax {
				break
			}
			delete(ring.lasting, one)
		}
		ring.lasting[name] = made
	}
	return made
}

// multiples returns the table of -A; nil if the key is not canonical, no point, or a point of small order.
func multiples(key []byte) *curve.EdwardsBasepointTable {
	var written, again curve.CompressedEdwardsY
	var point curve.EdwardsPoint
	if _, err := written.SetBytes(key); err != nil {
		return nil
	}
	if _, err := point.SetCompressedY(&written); err != nil || point.IsSmallOrder() {
		return nil
	}
	if again.SetEdwardsPoint(&point); again != written {
		return nil
	}
	return curve.NewEdwardsBasepointTable(point.Neg(&point))
}

// holds says whether R = sB - kA to the byte, with s below the group's order and R of no small order (RFC 8032 section 5.1.7, without the
// cofactor). No byte of R that is not canonical equals what is computed.
func holds(table *curve.EdwardsBasepointTable, one signed) bool {
	var s, k scalar.Scalar
	if _, err := s.SetCanonicalBytes(one.signature[32:]); err != nil {
		return false
	}
	hash := sha512.New()
	hash.Write(one.signature[:32])
	hash.Write(one.key)
	hash.Write(one.message)
	if _, err := k.SetBytesModOrderWide(hash.Sum(nil)); err != nil {
		return false
	}
	var sB, r curve.EdwardsPoint
	r.MulBasepoint(table, &k)
	r.Add(&r, sB.MulBasepoint(curve.ED25519_BASEPOINT_TABLE, &s))
	var written curve.CompressedEdwardsY
	return bytes.Equal(written.SetEdwardsPoint(&r)[:], one.signature[:32]) && !r.IsSmallOrder()
}

func (ring *keyring) holds(one signed) bool {
	if table := ring.table(one.key); table != nil {
		return holds(table, one)
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
	ring := newKeyring()
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
		if size < numberSize || size > frameSizeMax {
			return errNotOur
		}
		if size > cap(frame) {
			frame = make([]byte, size)
		}
		frame = frame[:size]
		if _, err := io.ReadFull(in, frame); err != nil {
			return err
		}
		all, err := taken(frame[numberSize:])
		if err != nil {
			return err
		}
		if _, err := out.Write(append(frame[:numberSize:numberSize], ring.verdicts(all, workers)...)); err != nil {
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
