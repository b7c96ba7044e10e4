import Checkpoint

/// The arbiter that `spec` means; nil for `prefer-primary`, which is none. Asks nobody yet: whether it answers shows when
/// it is asked.
package func makeArbiter(_ spec: ArbiterSpec) -> (any Arbiter)? {
    switch spec {
    case .preferPrimary: nil
    case .manual: ManualArbiter()
    case .file(let path): DeadlineArbiter(StoreArbiter(FileStore(path: path)))
    case .exec(let path): DeadlineArbiter(ExecArbiter(path: path))
    case .etcd(let etcd): DeadlineArbiter(StoreArbiter(EtcdStore(etcd)))
    }
}
