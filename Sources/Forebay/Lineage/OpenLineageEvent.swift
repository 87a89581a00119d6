internal import Pipeline
internal import Spool
internal import Telemetry

/// A batch as a run event of OpenLineage 2-0-2 (https://openlineage.io/spec/2-0-2/OpenLineage.json): the gateway is
/// the job's namespace, the pipeline the job, the batch one completed run of it, the MQTT topics its inputs.
struct OpenLineageEvent: Encodable {
  static let schemaURL = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
  static let producer = "urn:forebay:\(Version.current)"
  private static let facets = "https://openlineage.io/spec/facets"

  /// What every facet begins with. `content` are the facet's own members, beside these.
  struct Facet<Content: Encodable>: Encodable {
    var schema: String
    var content: Content

    private enum Key: String, CodingKey {
      case producer = "_producer"
      case schema = "_schemaURL"
    }

    func encode(to encoder: any Encoder) throws {
      try content.encode(to: encoder)
      var container = encoder.container(keyedBy: Key.self)
      try container.encode(OpenLineageEvent.producer, forKey: .producer)
      try container.encode(schema, forKey: .schema)
    }
  }

  struct Engine: Encodable {
    var name = "forebay"
    var version = Version.current
  }

  struct JobType: Encodable {
    var processingType = "STREAMING"
    var integration = "FOREBAY"
    var jobType = "PIPELINE"
  }

  struct Documentation: Encodable {
    var description: String
    var contentType = "text/plain"
  }

  struct DatasetVersion: Encodable { var datasetVersion: String }

  struct Statistics: Encodable {
    var rowCount: Int
    var size: Int
  }

  struct Schema: Encodable {
    struct Field: Encodable {
      var name: String
      var type: String?
      var position: Int

      private enum CodingKeys: String, CodingKey {
        case name, type
        case position = "ordinal_position"
      }
    }
    var fields: [Field]
  }

  /// What OpenLineage has no word for.
  struct Batch: Encodable {
    struct Delivery: Encodable {
      var identity: String
      var fate: String
      var uplink: String
      var time: String?
    }
    var identity: String
    var version: String
    var steps: [PipelineStep]?
    var contract: PipelineExplanation.ContractNote?
    var log: String
    var firstOffset: Int64
    var lastOffset: Int64
    var digest: String
    var previousDigest: String
    var encoding: String
    var compression: String
    var possibleDuplicate: Bool
    var sealed: String
    var clockSynchronised: Bool
    /// The batch, or the parts that it was split into.
    var deliveries: [Delivery]
  }

  struct RunFacets: Encodable {
    var engine: Facet<Engine>
    var batch: Facet<Batch>

    private enum CodingKeys: String, CodingKey {
      case engine = "processing_engine"
      case batch = "forebay_batch"
    }
  }

  struct Run: Encodable {
    var runId: String
    var facets: RunFacets
  }

  struct JobFacets: Encodable {
    var jobType: Facet<JobType>
    var documentation: Facet<Documentation>?
  }

  struct Job: Encodable {
    var namespace: String
    var name: String
    var facets: JobFacets
  }

  struct Input: Encodable {
    struct Facets: Encodable { var inputStatistics: Facet<Statistics> }
    var namespace: String
    var name: String
    var inputFacets: Facets?
  }

  struct Output: Encodable {
    struct DatasetFacets: Encodable {
      var version: Facet<DatasetVersion>
      var schema: Facet<Schema>?
    }
    struct OutputFacets: Encodable { var outputStatistics: Facet<Statistics> }
    var namespace: String
    var name: String
    var facets: DatasetFacets
    var outputFacets: OutputFacets
  }

  var eventType = "COMPLETE"
  var eventTime: String
  var producer = OpenLineageEvent.producer
  var schemaURL = OpenLineageEvent.schemaURL
  var run: Run
  var job: Job
  var inputs: [Input]
  var outputs: [Output]

  /// - Parameter topics: the messages that went into the batch; empty where they are no longer kept, and then the
  ///   inputs are the topic filters of its version.
  init(_ account: BatchAccount, topics: [(origin: Origin, messages: Int, bytes: Int)]) {
    let batch = account.batch
    let explanation = account.explanation
    eventTime = RFC3339.text(batch.sealed)
    let deliveries = (account.parts.isEmpty ? [batch] : account.parts).map {
      Batch.Delivery(
        identity: $0.identity.description, fate: $0.fate.rawValue, uplink: $0.uplink, time: $0.left.map(RFC3339.text))
    }
    let own = Batch(
      identity: batch.identity.description, version: batch.version, steps: explanation?.steps,
      contract: explanation?.contract, log: batch.log.rawValue, firstOffset: batch.firstOffset.rawValue,
      lastOffset: batch.lastOffset.rawValue, digest: batch.digest.hex, previousDigest: batch.previous.hex,
      encoding: batch.encoding.rawValue, compression: batch.compression.rawValue,
      possibleDuplicate: batch.possibleDuplicate, sealed: RFC3339.text(batch.sealed),
      clockSynchronised: batch.quality == .synchronised, deliveries: deliveries)
    run = Run(
      runId: OpenLineageEvent.runID(batch.identity),
      facets: RunFacets(
        engine: Facet(
          schema: Self.facets + "/1-1-1/ProcessingEngineRunFacet.json#/$defs/ProcessingEngineRunFacet",
          content: Engine()),
        batch: Facet(schema: "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunFacet", content: own)
      ))
    let steps = explanation?.steps.map(\.text).joined(separator: "\n")
    job = Job(
      namespace: batch.identity.gateway, name: batch.identity.pipeline,
      facets: JobFacets(
        jobType: Facet(schema: Self.facets + "/2-0-4/JobTypeJobFacet.json#/$defs/JobTypeJobFacet", content: JobType()),
        documentation: steps.map {
          Facet(
            schema: Self.facets + "/1-1-0/DocumentationJobFacet.json#/$defs/DocumentationJobFacet",
            content: Documentation(description: $0))
        }))
    inputs = topics.map { topic in
      Input(
        namespace: "mqtt://\(topic.origin.source)", name: topic.origin.topic,
        inputFacets: Input.Facets(
          inputStatistics: Facet(
            schema: Self.facets
              + "/1-0-0/InputStatisticsInputDatasetFacet.json#/$defs/InputStatisticsInputDatasetFacet",
            content: Statistics(rowCount: topic.messages, size: topic.bytes))))
    }
    if topics.isEmpty, let explanation {
      let namespaces = explanation.sources?.map { "mqtt://\($0)" } ?? ["mqtt"]
      inputs = namespaces.flatMap { namespace in
        explanation.topics.map { Input(namespace: namespace, name: $0, inputFacets: nil) }
      }
    }
    let fields = explanation?.fields.map { fields in
      Schema(
        fields: fields.enumerated().map { index, field in
          Schema.Field(name: field.name, type: field.type, position: index + 1)
        })
    }
    outputs = [
      Output(
        namespace: batch.identity.gateway, name: batch.identity.pipeline,
        facets: Output.DatasetFacets(
          version: Facet(
            schema: Self.facets + "/1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet",
            content: DatasetVersion(datasetVersion: batch.identity.description)),
          schema: fields.map {
            Facet(schema: Self.facets + "/1-2-0/SchemaDatasetFacet.json#/$defs/SchemaDatasetFacet", content: $0)
          }),
        outputFacets: Output.OutputFacets(
          outputStatistics: Facet(
            schema: Self.facets
              + "/1-0-2/OutputStatisticsOutputDatasetFacet.json#/$defs/OutputStatisticsOutputDatasetFacet",
            content: Statistics(rowCount: batch.count, size: batch.length))))
    ]
  }

  /// A UUID of version 8 (RFC 9562, section 5.8) made of the SHA-256 of the identity, so that every gateway and
  /// every receiver finds the same one.
  static func runID(_ identity: BatchIdentity) -> String {
    var bytes = Array(Digest(of: Array("forebay-run\n\(identity.whole)".utf8)).bytes.prefix(16))
    bytes[6] = 0x80 | bytes[6] & 0x0F
    bytes[8] = 0x80 | bytes[8] & 0x3F
    let hex = Hex.encode(bytes)
    var text = ""
    for (index, digit) in hex.enumerated() {
      if [8, 12, 16, 20].contains(index) { text.append("-") }
      text.append(digit)
    }
    return text
  }
}
