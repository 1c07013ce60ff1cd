// Package decorate wraps query functions, so that what they return is kept in a
// region, into values that can do more than call: look without calling, set,
// invalidate, refresh, and tell the key.
//
//	var getUser = decorate.CacheOnArguments(Users, loadUser)
//
//	u, err := getUser.Call(ctx, 42)      // from the region, or by loadUser
//	err = getUser.Invalidate(ctx, 42)    // after the row has changed
//	err = getUser.InvalidateAll(ctx)     // after all of them may have
//	u, err = getUser.Original(ctx, 42)   // loadUser itself
//
// CacheOnArguments is for functions of one argument after the context;
// CacheOnArguments0 and 2 to 4 are for others, and several arguments that belong
// together can be one struct. [CacheMultiOnArguments] wraps a function that loads
// many values at once.
//
// [Warm] creates values ahead of time, when a service starts or in a cron job.
//
// A value's key is the name of the function and the text of its arguments, for
// example
//
//	github.com/acme/app/users.Load(int64(42))
//
// Arguments have one text only if they are equal and of one type, so that f("a b")
// and f("a", "b"), or f(1) and f("1"), never meet. The context is no part of it.
// Function literals, and a second function of the same name in a region, need
// [region.Namespace]; [region.WithKey] makes the key in another way altogether.
// What is wrong with a wrapping is returned by every call of it, as an error that
// wraps [region.ErrConfig].
package decorate
