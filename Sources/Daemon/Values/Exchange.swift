/// Puts `new` in place of `value` and returns what was there.
func exchange<T>(_ value: inout T, with new: T) -> T {
    defer { value = new }
    return value
}
