package ui

// Languages are those that pages are written in, as BCP 47 tags.
func Languages() []string {
	list := make([]string, len(languages))
	for i, tag := range languages {
		list[i] = tag.String()
	}
	return list
}
