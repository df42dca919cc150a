package doctor

import (
	"os"
	"path/filepath"
)

// checkSQLite looks at the file from outside: whether it can be opened is another question.
func (p *Patient) checkSQLite(c *chart) {
	file := p.Config.Database.File()
	if file == "" {
		return
	}
	for _, path := range []string{file, file + "-wal", file + "-shm"} {
		info, err := os.Stat(path)
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			c.of(path).fail("sqlite-file", "chmod 600 "+path, "%s can be read by others (mode %04o)", path, info.Mode().Perm())
		}
	}
	if _, err := os.Stat(file); err != nil {
		return
	}
	c.settle("sqlite-file")
	if name := networkFilesystem(filepath.Dir(file)); name != "" {
		c.warn("sqlite-filesystem", "move it to a disk of this machine, or use PostgreSQL", "%s is on %s", file, name)
	}
	c.settle("sqlite-filesystem")
}
