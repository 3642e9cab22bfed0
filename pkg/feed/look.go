package feed

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/regular"
)

// look is what the tables' files were seen to be.
type look struct {
	stat string // their sizes and times
	sum  string // of their contents
	size map[string]int64
}

// lookAt looks at the tables' files of dir. Their contents are read if their sizes and
// times are not those of prev, or if whole is set: a copy may keep both.
func lookAt(dir string, prev look, whole bool) (look, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return look{}, err
	}
	if !info.IsDir() {
		return look{}, fmt.Errorf("%s is not a directory", dir)
	}
	now := look{size: map[string]int64{}}
	var stat strings.Builder
	var paths []string
	for _, table := range config.AllTables() { // of layers too: they end what was a gateway's own
		files, err := config.TableFiles(dir, table)
		if err != nil {
			return look{}, err
		}
		for _, path := range files {
			info, err := os.Stat(path)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return look{}, err
			}
			fmt.Fprintf(&stat, "%q %d %d\n", path, info.Size(), info.ModTime().UnixNano())
			now.size[path] = info.Size()
			if info.Mode().IsRegular() { // reading it as a table tells what is wrong
				paths = append(paths, path)
			}
		}
	}
	if now.stat = stat.String(); now.stat == prev.stat && !whole {
		now.sum = prev.sum
		return now, nil
	}
	now.sum, err = sumOf(paths)
	return now, err
}

// sumOf is the hash of the names and contents of files.
func sumOf(paths []string) (string, error) {
	h := sha256.New()
	for _, path := range paths {
		f, err := os.OpenFile(path, regular.Flags, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		content := sha256.New()
		st, err := f.Stat()
		if err == nil && st.Mode().IsRegular() { // it may have become a pipe since it was looked at
			_, err = io.Copy(content, f)
		}
		_ = f.Close() // only read
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%q %x\n", path, content.Sum(nil))
	}
	return string(h.Sum(nil)), nil
}

// shorter reports whether a file of l is shorter than in was, or gone: it may be one that
// somebody is writing.
func (l look) shorter(was look) bool {
	for path, size := range was.size {
		if l.size[path] < size {
			return true
		}
	}
	return false
}

// AllowDeleteFile is what a person puts beside the tables to say that a large removal
// is meant. It is used up by it.
const AllowDeleteFile = "ALLOW-DELETE"

// removalError says that a configuration removes more than happens by intent.
type removalError struct{ dir, what string }

func (e *removalError) Error() string {
	return fmt.Sprintf("the changed tables remove %s: what runs goes on; if that is meant, put an empty file %s into %s, or say edge-ctl config reload --allow-delete", e.what, AllowDeleteFile, e.dir)
}

// removals says how many of was's items next lacks: of all tables, and of those of which
// it lacks more than half.
func removals(was, next *config.Snapshot) (all, large string) {
	var every, most []string
	old, doc := was.Document(), next.Document()
	for _, t := range []config.Table{config.Endpoints, config.Drivers, config.Variables} {
		ids, gone := old.IDs(t), 0
		for _, id := range ids {
			if _, stays := doc.Get(t, id); !stays {
				gone++
			}
		}
		if gone == 0 {
			continue
		}
		text := fmt.Sprintf("%d of %d %s", gone, len(ids), t)
		every = append(every, text)
		if 2*gone > len(ids) {
			most = append(most, text)
		}
	}
	return strings.Join(every, ", "), strings.Join(most, ", ")
}
