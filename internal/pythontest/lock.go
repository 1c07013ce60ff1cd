package pythontest

import "time"

// Lock is a mutex that a worker may hold. The zero Lock is not to be used.
type Lock struct {
	region *Region
	name   string
	q      request
}

// Lock returns the mutex of key as the region's backend makes it, which needs the argument
// distributed_lock.
func (r *Region) Lock(key string) *Lock {
	return &Lock{region: r, name: r.worker.newName("lock"), q: request{"key": key}}
}

// RawLock returns redis-py's own lock under a name, with a timeout, or with none if that is
// 0, for regions on Redis.
func (r *Region) RawLock(name string, timeout time.Duration) *Lock {
	q := request{"key": name, "raw": true}
	if timeout > 0 {
		q["timeout"] = timeout.Seconds()
	}
	return &Lock{region: r, name: r.worker.newName("lock"), q: q}
}

// Take waits until it holds the lock.
func (l *Lock) Take() error {
	_, err := l.take(true)
	return err
}

// TryTake takes the lock if it is free and reports whether it was.
func (l *Lock) TryTake() (bool, error) { return l.take(false) }

// StartTake starts a [Lock.Take].
func (l *Lock) StartTake() *Call { return l.start(true) }

// Release releases the lock.
func (l *Lock) Release() error {
	return l.region.start("unlock", request{"lock": l.name}).Wait()
}

func (l *Lock) take(wait bool) (taken bool, err error) {
	err = l.start(wait).into(&taken)
	return taken, err
}

func (l *Lock) start(wait bool) *Call {
	q := request{"lock": l.name, "wait": wait}
	for name, v := range l.q {
		q[name] = v
	}
	return l.region.start("lock", q)
}
