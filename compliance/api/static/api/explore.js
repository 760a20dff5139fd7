// Starts Swagger UI on the page /api/v1/docs. Keys typed there stay in that page.
const place = document.getElementById("explore");
SwaggerUIBundle({
  url: place.dataset.schema,
  domNode: place,
  deepLinking: true,
  displayOperationId: true,
  persistAuthorization: false,
  validatorUrl: null,
});
