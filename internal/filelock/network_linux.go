package filelock

import "syscall"

// networks are the magic numbers of file systems that are on other hosts; see
// statfs(2).
var networks = map[uint32]bool{
	0x6969:     true, // NFS
	0xff534d42: true, // CIFS
	0xfe534d42: true, // SMB 2
	0x517b:     true, // SMB
	0x564c:     true, // NCP
	0x5346414f: true, // AFS
	0x6b414653: true, // kAFS
	0x73757245: true, // Coda
	0x00c36400: true, // Ceph
	0x0bd00bd0: true, // Lustre
}

// onNetwork reports whether dir is on a file system that other hosts share. What
// cannot be told counts as local.
func onNetwork(dir string) bool {
	var s syscall.Statfs_t
	return syscall.Statfs(dir, &s) == nil && networks[uint32(s.Type)]
}
