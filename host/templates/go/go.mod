// The name under which the generated code imports itself.
module wit_component

go 1.27.1

require go.bytecodealliance.org/pkg v0.4.0

// What the generated code stands on, of the version that `plinth plugin build` generates for.
replace go.bytecodealliance.org/pkg => ./third_party/pkg
