import XenHost

/// xenstore as a dictionary from paths to values.
struct FakeStore: XenstoreReading {
    var values: [String: String]

    func read(_ path: String) -> String? { values[path] }

    func list(_ path: String) -> [String] {
        let prefix = path + "/"
        return Set(
            values.keys.filter { $0.hasPrefix(prefix) }.compactMap {
                $0.dropFirst(prefix.count).split(separator: "/").first.map(String.init)
            }
        ).sorted()
    }
}
