package dogpilepy

// Function returns the form of the keys of a function that is decorated with
// cache_on_arguments, or with cache_multi_on_arguments, for region.WithKeyForm: that of
// [FunctionKey].
func Function(function, namespace string) func(args ...any) (string, error) {
	return func(args ...any) (string, error) { return FunctionKey(function, namespace, args...) }
}

// KwargFunction is [Function] for functions whose function_key_generator is
// kwarg_function_key_generator: the form is that of [KwargFunctionKey]. names are those of
// all parameters in Python, in the order in which the function in Go has them.
func KwargFunction(function, namespace string, names ...string) func(args ...any) (string, error) {
	return func(args ...any) (string, error) { return KwargFunctionKey(function, namespace, names, args...) }
}
