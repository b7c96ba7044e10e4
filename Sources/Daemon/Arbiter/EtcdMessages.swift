import FoundationEssentials

// etcd's JSON gateway (etcd documentation, "Why gRPC gateway"; api/etcdserverpb/rpc.proto): bytes are base64, 64-bit numbers are
// strings, and a field that has its default value is left out.

/// `POST /v3/kv/range`: one key. Linearizable, since `serializable` is left out.
struct EtcdRange: Encodable {
    let key: String

    init(key: String) { self.key = EtcdText.encode(Array(key.utf8)) }
}

/// `POST /v3/kv/txn`: changes one key if it is exactly what was read.
struct EtcdTransaction: Encodable {
    struct Comparison: Encodable {
        var key: String
        var result = "EQUAL"
        var target: String
        var createRevision: String?
        var modRevision: String?
        var value: String?

        enum CodingKeys: String, CodingKey {
            case key, result, target
            case createRevision = "create_revision"
            case modRevision = "mod_revision"
            case value
        }
    }

    struct Operation: Encodable {
        struct Put: Encodable {
            var key: String
            var value: String
        }

        var put: Put?
        var deletion: EtcdRange?

        enum CodingKeys: String, CodingKey {
            case put = "request_put"
            case deletion = "request_delete_range"
        }
    }

    private let compare: [Comparison]
    private let success: [Operation]

    /// - Parameters:
    ///   - expected: what must be there, nil: nothing.
    ///   - value: what is to be there, without a lease; nil: nothing.
    init(key: String, expected: EtcdVersion?, value: [UInt8]?) {
        let range = EtcdRange(key: key)
        if let expected {
            compare = [
                Comparison(key: range.key, target: "MOD", modRevision: String(expected.modRevision)),
                Comparison(key: range.key, target: "VALUE", value: EtcdText.encode(expected.value)),
            ]
        } else {
            compare = [Comparison(key: range.key, target: "CREATE", createRevision: "0")]
        }
        if let value {
            success = [Operation(put: .init(key: range.key, value: EtcdText.encode(value)))]
        } else {
            success = [Operation(deletion: range)]
        }
    }
}

/// What tells a record in etcd from every other: where it was written in etcd's history, and its bytes. A history that was
/// begun anew may come to the same number, with other bytes.
struct EtcdVersion: Sendable, Equatable {
    let modRevision: Int64
    let value: [UInt8]
}

/// The answer to a range.
struct EtcdRangeAnswer: Decodable {
    struct KeyValue: Decodable {
        let key: String
        let value: String?
        let modRevision: String
        let lease: String?

        enum CodingKeys: String, CodingKey {
            case key, value, lease
            case modRevision = "mod_revision"
        }
    }

    let header: EtcdHeader
    let kvs: [KeyValue]?
}

/// The answer to a transaction.
struct EtcdTransactionAnswer: Decodable {
    let header: EtcdHeader
    let succeeded: Bool?
}

/// What every answer of etcd has: without it, it is not etcd that answers.
struct EtcdHeader: Decodable {
    /// Which cluster it is; not known to an etcd without one.
    let clusterID: String
    let revision: String

    enum CodingKeys: String, CodingKey {
        case clusterID = "cluster_id"
        case revision
    }
}

/// An error of etcd.
struct EtcdError: Decodable {
    let error: String?
    let message: String?
}

/// Bytes in etcd's JSON.
enum EtcdText {
    static func encode(_ bytes: [UInt8]) -> String { Data(bytes).base64EncodedString() }
    static func decode(_ text: String) -> [UInt8]? { Data(base64Encoded: text).map { Array($0) } }
}
