package doctor

import "syscall"

// networkFilesystem names the filesystem of a folder if its files are elsewhere, by the
// magic numbers of statfs(2).
func networkFilesystem(folder string) string {
	var stat syscall.Statfs_t
	if syscall.Statfs(folder, &stat) != nil {
		return ""
	}
	switch uint32(stat.Type) {
	case 0x6969:
		return "NFS"
	case 0x517b, 0xff534d42, 0xfe534d42:
		return "SMB"
	case 0x01021997:
		return "9P"
	case 0x00c36400:
		return "Ceph"
	case 0x5346414f, 0x6b414653:
		return "AFS"
	}
	return ""
}
