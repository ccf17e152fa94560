package operate

import (
	"maps"
	"slices"
)

// sortedKeys are the keys of a map in the order that less gives.
func sortedKeys[K comparable, V any](m map[K]V, less func(a, b K) bool) []K {
	return slices.SortedFunc(maps.Keys(m), func(a, b K) int {
		switch {
		case less(a, b):
			return -1
		case less(b, a):
			return 1
		}
		return 0
	})
}
