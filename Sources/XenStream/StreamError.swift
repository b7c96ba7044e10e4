/// Why a stream was refused, where, and what would have been right.
package struct StreamError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The kinds of refusal.
    package enum Kind: String, Sendable, CaseIterable {
        /// There was no input at all.
        case empty
        /// The input starts with nothing this reader knows.
        case unrecognised
        /// A legacy (version 1) stream, which another reader takes.
        case legacy
        /// The input ended inside a stream.
        case truncated
        /// Bytes follow the end of the stream.
        case trailingData
        /// A magic number or marker is wrong.
        case badMagic
        /// A version this reader does not take.
        case unsupportedVersion
        /// Big endian, or another feature nobody implements on x86.
        case unsupportedFeature
        /// A bit or field that must be zero is not.
        case reservedBits
        /// Padding that must be zero is not.
        case nonZeroPadding
        /// A length that cannot be.
        case badLength
        /// A field's value that cannot be.
        case badField
        /// A page type that does not exist, or not for this guest.
        case badPageType
        /// A PFN beyond the guest's memory.
        case pfnOutOfRange
        /// A frame that must be an ordinary page or a page table of a certain level is not.
        case wrongFrameType
        /// A mandatory record of unknown type.
        case unknownRecord
        /// A record that has no place in this kind of guest or stream.
        case forbiddenRecord
        /// A record that may come once came twice.
        case duplicateRecord
        /// A record came before what it needs, or too late.
        case outOfOrder
        /// A checkpoint or stream ends without a record it needs.
        case missingRecord
        /// A budget would be exceeded.
        case overBudget
    }

    /// What is wrong.
    package var kind: Kind
    /// Absolute offset of the piece that is wrong.
    package var offset: UInt64
    /// The layer that was being read.
    package var layer: StreamLayer
    /// Index of the record, nil outside records.
    package var recordIndex: UInt64?
    /// Type of the record, nil outside records.
    package var recordType: UInt32?
    /// How many checkpoints were whole before.
    package var epoch: UInt64
    /// What was expected, and what was found.
    package var expected: String

    /// An error from its parts.
    package init(
        kind: Kind,
        offset: UInt64,
        layer: StreamLayer,
        recordIndex: UInt64? = nil,
        recordType: UInt32? = nil,
        epoch: UInt64 = 0,
        expected: String
    ) {
        self.kind = kind
        self.offset = offset
        self.layer = layer
        self.recordIndex = recordIndex
        self.recordType = recordType
        self.epoch = epoch
        self.expected = expected
    }

    /// The record's name, nil outside records.
    package var recordName: String? {
        guard let recordType, let recordIndex else { return nil }
        return RecordInfo(
            layer: layer,
            type: recordType,
            length: 0,
            index: recordIndex,
            offset: offset,
            epoch: epoch
        ).name
    }

    /// One line for an operator.
    package var description: String {
        var text = "\(kind.rawValue) at byte \(offset)"
        if let recordIndex, let recordName {
            text += " (\(layer.rawValue) record \(recordIndex), \(recordName), epoch \(epoch))"
        } else {
            text += " (\(layer.rawValue) layer, epoch \(epoch))"
        }
        return text + ": " + expected
    }
}
