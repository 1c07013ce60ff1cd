package filelock

import (
	"sync"
)

// abreast is how many folders one call works on at once.
const abreast = 4

// ByShard calls f for each folder in which files of names stand, with the places of
// those names, for some folders at once, and returns the first error of a folder.
// After an error no further folder is begun.
func ByShard(names []Name, f func(shard int, places []int) error) error {
	if len(names) == 0 {
		return nil
	}
	if len(names) == 1 {
		return f(names[0].Shard(), []int{0})
	}
	var places [Shards][]int
	var used []int
	for i, name := range names {
		shard := name.Shard()
		if places[shard] == nil {
			used = append(used, shard)
		}
		places[shard] = append(places[shard], i)
	}
	var mu sync.Mutex
	var first error
	next := 0
	var all sync.WaitGroup
	for range min(abreast, len(used)) {
		all.Go(func() {
			for {
				mu.Lock()
				if first != nil || next == len(used) {
					mu.Unlock()
					return
				}
				shard := used[next]
				next++
				mu.Unlock()
				if err := f(shard, places[shard]); err != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	return first
}
