/// Which arbiter a guest has, as `--arbiter` says it. docs/arbiters.md has the forms.
package enum ArbiterSpec: Hashable, Sendable, CustomStringConvertible {
    /// None: the standby never acts by itself, the primary goes on alone after `--alone-after`.
    case preferPrimary
    /// A person: both sides hold until somebody vouches.
    case manual
    /// A directory on storage that both hosts have at the same path.
    case file(path: String)
    /// A program that answers for somebody else.
    case exec(path: String)
    /// Records in etcd.
    case etcd(EtcdSpec)

    /// The same for both sides of a pair, however each of them wrote it: what they compare, and what status shows. Which
    /// files a host keeps its keys in is no part of it.
    package var name: String {
        switch self {
        case .preferPrimary: "prefer-primary"
        case .manual: "manual"
        case .file(let path): "file:\(path)"
        case .exec(let path): "exec:\(path)"
        case .etcd(let etcd): etcd.name
        }
    }

    /// Whether it gives grants by itself. Without one that does, nothing is activated automatically.
    package var canDecide: Bool {
        switch self {
        case .preferPrimary, .manual: false
        case .file, .exec, .etcd: true
        }
    }

    package var description: String { name }
}
