// Judges claims about a log by Go's golang.org/x/mod/sumdb: one JSON object a line in, "ok" or the error out.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type claim struct {
	Kind      string
	Vkey      string
	Note      []byte
	Size, Old int64
	Index     int64
	Root      []byte
	OldRoot   []byte
	Leaf      []byte
	Leaves    [][]byte
	Proof     [][]byte
	Tiles     map[string][]byte
}

func hash(data []byte) (h tlog.Hash, err error) {
	if len(data) != tlog.HashSize {
		return h, fmt.Errorf("hash of %d bytes", len(data))
	}
	copy(h[:], data)
	return h, nil
}

func hashes(all [][]byte) ([]tlog.Hash, error) {
	var found []tlog.Hash
	for _, data := range all {
		h, err := hash(data)
		if err != nil {
			return nil, err
		}
		found = append(found, h)
	}
	return found, nil
}

func judge(c claim) error {
	root, err := hash(c.Root)
	if err != nil {
		return err
	}
	switch c.Kind {
	case "checkpoint":
		verifier, err := note.NewVerifier(c.Vkey)
		if err != nil {
			return err
		}
		opened, err := note.Open(c.Note, note.VerifierList(verifier))
		if err != nil {
			return err
		}
		want := fmt.Sprintf("%s\n%d\n%s\n", verifier.Name(), c.Size, base64.StdEncoding.EncodeToString(c.Root))
		if opened.Text != want {
			return fmt.Errorf("another text")
		}
		return nil
	case "inclusion":
		proof, err := hashes(c.Proof)
		if err != nil {
			return err
		}
		return tlog.CheckRecord(proof, c.Size, root, c.Index, tlog.RecordHash(c.Leaf))
	case "consistency":
		proof, err := hashes(c.Proof)
		if err != nil {
			return err
		}
		old, err := hash(c.OldRoot)
		if err != nil {
			return err
		}
		return tlog.CheckTree(proof, c.Size, root, c.Old, old)
	case "root":
		var stored []tlog.Hash
		reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
			var found []tlog.Hash
			for _, index := range indexes {
				found = append(found, stored[index])
			}
			return found, nil
		})
		for n, leaf := range c.Leaves {
			more, err := tlog.StoredHashes(int64(n), leaf, reader)
			if err != nil {
				return err
			}
			stored = append(stored, more...)
		}
		computed, err := tlog.TreeHash(int64(len(c.Leaves)), reader)
		if err != nil {
			return err
		}
		if computed != root {
			return fmt.Errorf("the leaves give another root")
		}
		for _, tile := range tlog.NewTiles(8, 0, int64(len(c.Leaves))) {
			want, err := tlog.ReadTileData(tile, reader)
			if err != nil {
				return err
			}
			// Go names the height first: tile/8/0/000.
			path := "tile/" + tile.Path()[len("tile/8/"):]
			got, there := c.Tiles[path]
			if !there && tile.W < 256 {
				continue // it lists the partial tiles of all smaller trees, too
			}
			if string(got) != string(want) {
				return fmt.Errorf("%s differs or is missing", path)
			}
			delete(c.Tiles, path)
		}
		if len(c.Tiles) > 0 {
			return fmt.Errorf("%d tiles too many", len(c.Tiles))
		}
		return nil
	}
	return fmt.Errorf("unknown kind %q", c.Kind)
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<28)
	for lines.Scan() {
		var c claim
		err := json.Unmarshal(lines.Bytes(), &c)
		if err == nil {
			err = judge(c)
		}
		if err == nil {
			fmt.Println("ok")
		} else {
			fmt.Println(err)
		}
	}
}
